// VitePress' default theme with the system's fonts, and the components of live figures: every .vue file here, under its name.

import DefaultTheme from "vitepress/theme-without-fonts";
import "./style.css";

const components = import.meta.glob("./components/*.vue", { eager: true, import: "default" });

export default {
  extends: DefaultTheme,
  enhanceApp({ app }) {
    for (const [path, component] of Object.entries(components)) {
      app.component(path.split("/").at(-1).replace(".vue", ""), component);
    }
  },
};
