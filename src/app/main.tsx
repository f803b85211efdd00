// Placeholder until the page is written: loads the model and says so.
import { render } from "preact";

render(<main>adaptvis</main>, document.body);
