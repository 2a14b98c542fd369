import { createHmac, randomBytes } from 'node:crypto';
import { sha256 } from '#core/kit/ids.ts';
import { isSameSecret } from '../browser-session.ts';

/** The name of the cookie that tells one browser from another. */
export const visitorCookie = 'switchyard_visitor';

/** Half a year without a visit. */
const visitorSeconds = 180 * 24 * 3600;

/** Names for browsers of people who are not the operator; signed, so that nobody can take another's. */
export interface Visitors {
  /** A new name and its cookie. */
  create(): { readonly room: string; readonly cookie: string };
  /** The name a cookie proves. */
  read(cookie: string | undefined): string | undefined;
  readonly maxAgeSeconds: number;
}

/** Visitors whose cookies are signed with a key made of `cookieKey`: they outlive restarts, unlike browser sessions. */
export function openVisitors(options: { readonly cookieKey: string }): Visitors {
  const key = sha256(`${options.cookieKey}\nvisitor`);
  const sign = (room: string): string => createHmac('sha256', key).update(room).digest('base64url');
  return {
    maxAgeSeconds: visitorSeconds,
    create() {
      const room = `v${randomBytes(16).toString('hex')}`;
      return { room, cookie: `${room}.${sign(room)}` };
    },
    read(cookie = '') {
      const [room = '', mark = ''] = cookie.split('.', 2);
      return /^v[0-9a-f]{32}$/.test(room) && isSameSecret(mark, sign(room)) ? room : undefined;
    },
  };
}
