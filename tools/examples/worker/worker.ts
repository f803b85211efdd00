// The model lives here, so that the page never waits for it: WebGPU works in a worker as in a page.
import { serveModel } from "adaptvis/worker";

serveModel();
