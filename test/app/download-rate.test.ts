// The rate of a download and the time that is left, as the page says them.
import { expect, test } from "vitest";
import { DownloadRate, timeLeft } from "../../src/app/draw/download-rate.ts";

test("the rate is that of the last seconds, and is not known at first", () => {
  const rate = new DownloadRate();
  rate.note(0, 0);
  rate.note(500, 500);
  expect(rate.bytesPerSecond).toBeUndefined();
  rate.note(1000, 1000);
  expect(rate.bytesPerSecond).toBe(1000);
  // A pause of the network, then ten times the rate: what is older than eight seconds does not count.
  for (let second = 2; second <= 20; second++)
    rate.note(1000 + (second > 10 ? (second - 10) * 10_000 : 0), second * 1000);
  expect(rate.bytesPerSecond).toBe(10_000);
});

test.each([
  [1e6, undefined, ""],
  [1e6, 0, ""],
  [5e6, 1e6, "a few seconds left"],
  [31e6, 1e6, "about 40\u00a0s left"],
  [180e6, 1e6, "about 3\u00a0min left"],
  [5400e6, 1e6, "about 1.5\u00a0h left"],
])("%d bytes at %s a second: %s", (rest, rate, text) => {
  expect(timeLeft(rest, rate)).toBe(text);
});
