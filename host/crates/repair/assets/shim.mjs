// What test files see instead of `node:test` inside the warm worker.
const shim = globalThis[Symbol.for('selfheal.shim')];
export default shim.test;
export const { test, it, describe, suite, before, after, beforeEach, afterEach, mock, skip, todo, only, run } = shim;
