// Dawn's package for Node asks in each turn of the event loop whether what it waits for is done, which keeps one core busy for as long as
// a kernel compiles or runs: half of what the tests cost on a software adapter, whose own threads need the core. With this module loaded,
// a wait asks at once for a short while, then once in a while.

/** For how long a wait asks in every turn of the event loop, in ms. */
const EAGER_MS = 0.5;

const { setImmediate: setImmediateOfNode, setTimeout: setTimeoutOfNode } = globalThis;

/** Whether Dawn's poll runs: what it asks for is its next poll, and from anywhere else it is the first of a new wait. */
let isPolling = false;
let waitsSince = 0;

globalThis.setImmediate = (callback, ...args) => {
  if (!isDawns(callback)) return setImmediateOfNode(callback, ...args);
  const now = performance.now();
  if (!isPolling) waitsSince = now;
  const waited = now - waitsSince;
  const poll = () => {
    isPolling = true;
    try {
      callback();
    } finally {
      isPolling = false;
    }
  };
  return waited < EAGER_MS ? setImmediateOfNode(poll) : setTimeoutOfNode(poll, Math.min(1 + waited / 20, 10));
};
Object.defineProperties(globalThis.setImmediate, Object.getOwnPropertyDescriptors(setImmediateOfNode));

/** Dawn's poll is a native function without a name, which no caller in JavaScript passes. */
function isDawns(callback) {
  return callback.name === "" && Function.prototype.toString.call(callback) === "function () { [native code] }";
}
