import { createHmac, timingSafeEqual } from 'node:crypto';
import { AppError } from '#core/kit/errors.ts';
import { newToken, sha256 } from '#core/kit/ids.ts';

/** Long enough for a working day, short enough for a forgotten browser. */
const sessionMs = 12 * 60 * 60 * 1000;

/** The name of the session cookie. */
export const sessionCookie = 'switchyard_session';

/** Compares secrets in a time that does not depend on where they differ. */
export function isSameSecret(a: string, b: string): boolean {
  return timingSafeEqual(Buffer.from(sha256(a)), Buffer.from(sha256(b)));
}

/** Browser sessions: a signed cookie, so that a restart or another gateway with the same key still knows it. */
export interface BrowserSessions {
  /** @throws AppError `request.unauthenticated` for a wrong token. */
  open(token: string): string;
  isOpen(cookie: string | undefined): boolean;
  /** Ends one session in this process; elsewhere it ends when the browser drops the cookie. */
  close(cookie: string | undefined): void;
  readonly maxAgeSeconds: number;
}

/**
 * Sessions for whoever knows `loginToken`. They are signed with a key made of `cookieKey` and the token, so that a new
 * token ends all sessions of the old one.
 */
export function browserSessions(options: {
  readonly loginToken: string;
  readonly cookieKey: string;
  readonly now: () => number;
}): BrowserSessions {
  const key = sha256(`${options.cookieKey}\n${options.loginToken}`);
  const closed = new Map<string, number>();
  const sign = (text: string): string => createHmac('sha256', key).update(text).digest('base64url');
  return {
    maxAgeSeconds: sessionMs / 1000,
    open(token) {
      if (!isSameSecret(token, options.loginToken)) {
        throw new AppError('request.unauthenticated', 'This is not the login token.', {
          mend: 'The start of Switchyard printed it.',
        });
      }
      const text = `${options.now() + sessionMs}.${newToken(16)}`;
      return `${text}.${sign(text)}`;
    },
    isOpen(cookie = '') {
      const cut = cookie.lastIndexOf('.');
      const text = cookie.slice(0, Math.max(cut, 0));
      if (!isSameSecret(cookie.slice(cut + 1), sign(text)) || closed.has(text)) return false;
      return Number(text.split('.')[0]) > options.now();
    },
    close(cookie) {
      if (!this.isOpen(cookie)) return;
      for (const [text, until] of closed) if (until < options.now()) closed.delete(text);
      const text = (cookie ?? '').slice(0, (cookie ?? '').lastIndexOf('.'));
      closed.set(text, Number(text.split('.')[0]));
    },
  };
}
