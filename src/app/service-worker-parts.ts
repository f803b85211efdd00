// Parts of the service worker that the page or the tests share.

/** Message to a waiting service worker of a newer build: activate if no other page is open. */
export const TAKE_OVER = "take over";

/** Headers of a kept file that describe how its bytes were sent. */
const OF_THE_TRANSFER = ["content-encoding", "content-length", "content-range", "transfer-encoding"];

/**
 * The response for a file, or for the part of it that a Range header asks for.
 * @param headers those that the server sent with it; all but those of the transfer are kept, so that its policies are as well
 * @param range the request's Range header, or null; multiple ranges and other units are ignored, as RFC 9110 section 14 allows
 * @returns 200 with the whole file, 206 with one part, or 416 for a part that begins after the end
 */
export function partOf(file: Blob, headers: Headers, range: string | null): Response {
  const kept = [...headers].filter(([name]) => !OF_THE_TRANSFER.includes(name));
  const type = headers.get("content-type") ?? "application/octet-stream";
  const plain = { ...Object.fromEntries(kept), "accept-ranges": "bytes", "content-type": type };
  const asked = /^bytes=(\d*)-(\d*)$/.exec(range?.trim() ?? "");
  const [, first = "", last = ""] = asked ?? [];
  if (
    asked === null ||
    (first === "" && last === "") ||
    (first !== "" && last !== "" && Number(last) < Number(first))
  ) {
    return new Response(file, { headers: { ...plain, "content-length": String(file.size) } });
  }
  const start = first === "" ? Math.max(0, file.size - Number(last)) : Number(first);
  const end = first === "" || last === "" ? file.size : Math.min(Number(last) + 1, file.size);
  if (start >= file.size) {
    return new Response("", { status: 416, headers: { ...plain, "content-range": `bytes */${file.size}` } });
  }
  return new Response(file.slice(start, end), {
    status: 206,
    headers: {
      ...plain,
      "content-length": String(end - start),
      "content-range": `bytes ${start}-${end - 1}/${file.size}`,
    },
  });
}
