import { createHmac } from 'node:crypto';

/**
 * The signature of a web hook: HMAC-SHA256 over `<timestamp>.<body>`, as hex after `v1=`. The time is part of it, so
 * that a receiver can refuse what somebody recorded and sends again.
 */
export function signBody(secret: string, timestamp: number, body: string): string {
  return `v1=${createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex')}`;
}
