// Range requests answered from a kept file, as the service worker does offline.
import { expect, test } from "vitest";
import { partOf } from "../../src/app/service-worker-parts.ts";

const file = new Blob(["0123456789"]);
const POLICY = "connect-src 'self'; frame-ancestors 'none'";
const headers = new Headers({
  "content-type": "text/plain",
  "content-encoding": "gzip",
  "content-length": "7",
  "content-security-policy": POLICY,
});

test.each([
  { range: null, status: 200, text: "0123456789", contentRange: null },
  { range: "bytes=0-0", status: 206, text: "0", contentRange: "bytes 0-0/10" },
  { range: "bytes=2-4", status: 206, text: "234", contentRange: "bytes 2-4/10" },
  { range: "bytes=7-", status: 206, text: "789", contentRange: "bytes 7-9/10" },
  { range: "bytes=-3", status: 206, text: "789", contentRange: "bytes 7-9/10" },
  { range: "bytes=8-99", status: 206, text: "89", contentRange: "bytes 8-9/10" },
  { range: "bytes=10-12", status: 416, text: "", contentRange: "bytes */10" },
  { range: "bytes=4-2", status: 200, text: "0123456789", contentRange: null },
  { range: "bytes=0-1,3-4", status: 200, text: "0123456789", contentRange: null },
  { range: "lines=0-1", status: 200, text: "0123456789", contentRange: null },
])("Range $range gives $status", async ({ range, status, text, contentRange }) => {
  const response = partOf(file, headers, range);
  expect(response.status).toBe(status);
  expect(await response.text()).toBe(text);
  expect(response.headers.get("content-range")).toBe(contentRange);
  expect(response.headers.get("content-type")).toBe("text/plain");
  expect(response.headers.get("content-security-policy")).toBe(POLICY);
  expect(response.headers.get("content-encoding")).toBeNull();
  if (status !== 416) expect(response.headers.get("content-length")).toBe(String(text.length));
});
