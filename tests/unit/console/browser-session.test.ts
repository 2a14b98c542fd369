import { expect, it } from 'vitest';
import { browserSessions } from '#server/browser-session.ts';
import { html, page } from '#server/html.ts';

const open = (options: { loginToken?: string; cookieKey?: string; now?: () => number } = {}) =>
  browserSessions({ loginToken: 'token', cookieKey: 'key', now: () => 1_000, ...options });

it('a session lives for its time, over a restart, and not under another key or token', () => {
  const cookie = open().open('token');
  expect(open().isOpen(cookie)).toBe(true);
  expect(open({ now: () => 1_000 + 12 * 3_600_000 }).isOpen(cookie)).toBe(false);
  expect(open({ cookieKey: 'other' }).isOpen(cookie)).toBe(false);
  expect(open({ loginToken: 'changed' }).isOpen(cookie)).toBe(false);
});

it('a closed session stays closed, and closing junk is harmless', () => {
  const sessions = open();
  const cookie = sessions.open('token');
  sessions.close(cookie);
  sessions.close('junk');
  sessions.close(undefined);
  expect(sessions.isOpen(cookie)).toBe(false);
  expect(sessions.isOpen(sessions.open('token'))).toBe(true);
});

it('a wrong token opens nothing', () => {
  for (const token of ['', 'Token', 'token ', 'x'.repeat(10_000)]) {
    expect(() => open().open(token)).toThrowError(expect.objectContaining({ code: 'request.unauthenticated' }));
  }
});

it('whatever is put into a page is text', () => {
  const hostile = `"><script>alert('x')</script>&\ud800`;
  const text = page({ title: hostile, body: html`<p title="${hostile}">${[hostile, html`<b>${hostile}</b>`]}</p>` });
  expect(text).not.toContain('<script>');
  expect(text).not.toContain(`'x'`);
  expect(text).toContain('<b>&quot;&gt;&lt;script&gt;');
  expect(text.isWellFormed()).toBe(true);
});
