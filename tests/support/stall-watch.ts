import { Worker } from 'node:worker_threads';

/**
 * A test whose event loop is blocked cannot be ended by its own time limit: the run would hang until someone ends it,
 * without a word on where. A thread watches this process's heartbeat, says where it is stuck and ends it.
 */
const beat = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
setInterval(() => Atomics.add(beat, 0, 1), 1000).unref();
new Worker(new URL('./stall-watch-thread.ts', import.meta.url), { workerData: beat, execArgv: [] }).unref();
