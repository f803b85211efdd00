// The worker's script of worker-calls.ts.
import { serveModel } from "../../src/worker/index.browser.ts";

serveModel();
