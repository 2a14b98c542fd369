/** Bounds of one sandbox's gateway. */
export interface GatewayLimits {
  /** Open connections of the sandbox at the same time. */
  readonly connectionsMax: number;
  readonly headerBytesMax: number;
  /** Longest a request may take to arrive with its headers, and whole. */
  readonly headersMs: number;
  readonly requestMs: number;
  readonly requestBytesMax: number;
  readonly responseBytesMax: number;
  /** Longest wait for the head of an answer, longest silence, longest time for all of it. */
  readonly firstByteMs: number;
  readonly idleMs: number;
  readonly totalMs: number;
  /** How long a tunnel may take to say which server it is for, be silent, and live. */
  readonly helloMs: number;
  readonly tunnelIdleMs: number;
  readonly tunnelMs: number;
}

const mebibyte = 1 << 20;
const secondMs = 1_000;

/** Values for a sandbox of everyday use; packages and repositories fit through, a flood does not. */
export const defaultGatewayLimits: GatewayLimits = {
  connectionsMax: 64,
  headerBytesMax: 16_384,
  headersMs: 10 * secondMs,
  requestMs: 300 * secondMs,
  requestBytesMax: 64 * mebibyte,
  responseBytesMax: 256 * mebibyte,
  firstByteMs: 60 * secondMs,
  idleMs: 60 * secondMs,
  totalMs: 600 * secondMs,
  helloMs: 10 * secondMs,
  tunnelIdleMs: 120 * secondMs,
  tunnelMs: 3_600 * secondMs,
};
