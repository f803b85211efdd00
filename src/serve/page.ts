// A small page to try the server: one picture, one question, the answer as it streams, and where the model looked. Nothing comes from
// another host, and its policy allows requests to this server only.

/** The page's Content-Security-Policy. */
export const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** GET / */
export const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>adaptvis serve</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/page.css">
<main>
<h1>adaptvis serve</h1>
<p>This server speaks OpenAI's protocol: <code>POST /v1/chat/completions</code> (<a href="/openapi.json">description</a>).</p>
<form id="form">
  <label>Picture <input type="file" id="picture" accept="image/jpeg,image/png,image/webp"></label>
  <label>Question <textarea id="question" rows="2" required></textarea></label>
  <label>Intervention <input id="intervention" value="adaptvis" list="interventions"></label>
  <datalist id="interventions"><option>greedy<option>scaling<option>adaptvis</datalist>
  <label>API key, if the server has one <input type="password" id="key" autocomplete="off"></label>
  <button id="ask">Ask</button>
</form>
<output id="answer" role="status"></output>
<img id="map" alt="" hidden>
</main>
<script src="/page.js"></script>
</html>
`;

/** GET /page.css */
export const PAGE_STYLE = `:root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:2rem auto;padding:0 1rem}a{color:inherit}
label{display:block;margin:.5rem 0}input,textarea{font:inherit;display:block;width:100%;box-sizing:border-box}
button{font:inherit;padding:.3rem 1rem}output{display:block;white-space:pre-wrap;margin:1rem 0;min-height:1.5rem}output[aria-busy]:empty::before{content:"…"}img{max-width:100%}
`;

/** GET /page.js */
export const PAGE_SCRIPT = `"use strict";
const element = (id) => document.getElementById(id);
const dataUri = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = () => reject(reader.error);
  reader.readAsDataURL(file);
});
element("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = element("answer");
  const map = element("map");
  const button = element("ask");
  button.disabled = true;
  map.hidden = true;
  answer.textContent = "";
  answer.setAttribute("aria-busy", "true");
  try {
    const [file] = element("picture").files;
    const content = [{ type: "text", text: element("question").value }];
    if (file) content.unshift({ type: "image_url", image_url: { url: await dataUri(file) } });
    const key = element("key").value;
    const response = await fetch("/v1/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json", ...(key && { authorization: "Bearer " + key }) },
      body: JSON.stringify({
        messages: [{ role: "user", content }],
        stream: true,
        adaptvis: { intervention: element("intervention").value || "greedy", heatmap: Boolean(file) },
      }),
    });
    if (!response.ok) throw new Error((await response.json()).error.message);
    let rest = "";
    for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\\n");
      rest = lines.pop();
      for (const line of lines) {
        if (!line.startsWith("data: {")) continue;
        const chunk = JSON.parse(line.slice(6));
        if (chunk.error) throw new Error(chunk.error.message);
        answer.textContent += chunk.choices[0]?.delta.content ?? "";
        const told = chunk.adaptvis;
        if (!told) continue;
        answer.textContent += "\\n\\n" + told.intervention + ": confidence " + told.confidence.toFixed(2) + ", factor " + told.factor;
        if (told.heatmap) {
          map.src = told.heatmap;
          map.alt = "The picture, and where the model looked";
          map.hidden = false;
        }
      }
    }
  } catch (error) {
    answer.textContent += (answer.textContent === "" ? "" : "\\n\\n") + error.message;
  } finally {
    button.disabled = false;
    answer.removeAttribute("aria-busy");
  }
});
`;
