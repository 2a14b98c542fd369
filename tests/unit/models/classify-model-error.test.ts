import { describe, expect, test } from 'vitest';
import { classifyFailure, failureToModelError, parseRetryAfter, redact } from '#workers/models/classify-model-error.ts';

describe('a failure is classified by what it means, not by its status alone', () => {
  test.each([
    [{ status: 401, message: 'Incorrect API key provided' }, 'auth'],
    [{ status: 403, type: 'permission_error', message: 'no access' }, 'auth'],
    [{ status: 403, message: 'flagged by moderation' }, 'content'],
    [{ status: 402, message: 'Insufficient credits' }, 'billing'],
    [{ status: 429, code: 'insufficient_quota', message: 'You exceeded your current quota' }, 'billing'],
    [{ status: 400, type: 'invalid_request_error', message: 'Your credit balance is too low' }, 'billing'],
    [{ status: 429, message: 'Rate limit reached for requests' }, 'rate'],
    [{ status: 498, message: 'flex tier capacity exceeded' }, 'rate'],
    [{ status: 529, type: 'overloaded_error', message: 'Overloaded' }, 'overloaded'],
    [{ type: 'overloaded_error', message: 'Overloaded' }, 'overloaded'],
    [{ status: 503, message: '' }, 'overloaded'],
    [{ status: 500, message: 'oops' }, 'transient'],
    [{ status: 409, message: 'conflict' }, 'transient'],
    [{ status: 408, message: 'slow' }, 'timeout'],
    [{ message: 'fetch failed: ECONNREFUSED' }, 'transient'],
    [{ status: 413, message: 'Request too large' }, 'context'],
    [{ status: 400, code: 'context_length_exceeded', message: 'x' }, 'context'],
    [{ status: 400, message: 'prompt is too long: 210000 tokens > 200000 maximum' }, 'context'],
    [{ status: 400, message: "This model's maximum context length is 8192 tokens" }, 'context'],
    [{ status: 400, message: 'the request exceeds the available context size' }, 'context'],
    [{ status: 429, message: 'Request too large for gpt-4o: Limit 30000 tokens per minute (TPM)' }, 'rate'],
    [{ status: 400, code: 'content_filter', message: 'filtered' }, 'content'],
    [{ status: 400, code: 'tool_use_failed', message: 'Failed to call a function' }, 'protocol'],
    [{ status: 404, code: 'model_not_found', message: 'no such model' }, 'invalid'],
    [{ status: 400, message: "Unsupported value: 'role' does not support 'developer'" }, 'invalid'],
  ] as const)('%j is %s', (failure, kind) => {
    expect(classifyFailure(failure)).toBe(kind);
  });
});

describe('the wait a server asks for', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  test.each([
    [{ 'retry-after': '1' }, 1000],
    [{ 'retry-after': '100' }, 100_000],
    [{ 'retry-after-ms': '250', 'retry-after': '9' }, 250],
    [{ 'retry-after': 'Thu, 01 Jan 2026 00:00:07 GMT' }, 7000],
    [{ 'retry-after': '-5' }, undefined],
    [{ 'retry-after': '0' }, undefined],
    [{ 'retry-after': 'soon' }, undefined],
    [{ 'retry-after': 'Thu, 01 Jan 2020 00:00:00 GMT' }, undefined],
    [{}, undefined],
  ])('%j is %s ms', (headers, expected) => {
    expect(parseRetryAfter(new Headers(headers as Record<string, string>), now)).toBe(expected);
  });
});

test('keys never reach a message', () => {
  const text = 'Incorrect API key provided: sk-proj-abcdefghijklmnop1234. Authorization: Bearer eyJhbGciOi';
  expect(redact(text)).not.toMatch(/abcdefghijklmnop1234|eyJhbGciOi/);
});

test('a long body is cut to 500 characters', () => {
  expect(failureToModelError({ status: 500, message: 'x'.repeat(10_000) }).message).toHaveLength(500);
});
