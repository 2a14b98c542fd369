import { z } from 'zod';
import { sha256 } from '#core/kit/ids.ts';
import type { CallOutcome, OutgoingCall } from '#core/webhooks/webhook.ts';

const timeoutMs = 10_000;

const emailSchema = z.object({ subject: z.string(), text: z.string() });

export interface MailSettings {
  /** Such as `smtps://user:password@host:465`. */
  readonly url: string;
  readonly from: string;
}

/**
 * Hands one e-mail to the mail server. Its Message-ID is the same in every try, which is how mail programs recognise a
 * repetition.
 */
export async function sendMail(settings: MailSettings, call: OutgoingCall): Promise<CallOutcome> {
  const email = emailSchema.safeParse(call.payload);
  if (!email.success) return { state: 'dead', reason: 'its text cannot be read' };
  // Few installations send e-mail: its library is loaded by those that do.
  const { default: nodemailer } = await import('nodemailer');
  const transport = nodemailer.createTransport({
    url: settings.url,
    connectionTimeout: timeoutMs,
    greetingTimeout: timeoutMs,
    socketTimeout: timeoutMs,
  });
  try {
    await transport.sendMail({
      from: settings.from,
      to: call.target,
      subject: email.data.subject,
      text: email.data.text,
      messageId: `<${sha256(`${call.eventId}:${call.target}`).slice(0, 32)}@${domainOf(settings.from)}>`,
      // Keeps holiday notes and other robots from answering.
      headers: { 'Auto-Submitted': 'auto-generated' },
      disableFileAccess: true,
      disableUrlAccess: true,
    });
    return { state: 'delivered' };
  } catch (err) {
    const status = readNumber(err, 'responseCode');
    const code = err instanceof Error && 'code' in err ? String(err.code) : 'no answer';
    const reason = status === undefined ? `mail could not be sent (${code})` : `the mail server answered ${status}`;
    // 5xx is final by RFC 5321, but for a login that the operator can mend.
    return { state: status !== undefined && status >= 500 && code !== 'EAUTH' ? 'dead' : 'retry', reason };
  } finally {
    transport.close();
  }
}

function domainOf(from: string): string {
  return /@([\w.-]+)/.exec(from)?.[1] ?? 'switchyard.invalid';
}

function readNumber(value: unknown, key: string): number | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const found: unknown = Reflect.get(value, key);
  return typeof found === 'number' ? found : undefined;
}
