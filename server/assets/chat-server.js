/** What the page asks the server. */

/** A random name of letters and digits. */
export const random = (count) =>
  Array.from(crypto.getRandomValues(new Uint8Array(count)), (byte) => (byte % 36).toString(36)).join('');

/** The answer to a request; throws with the server's own words when it was refused. */
export async function call(path, options = {}) {
  const answer = await fetch(`/chat/api/${path}`, options);
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const { message = `The server answered ${answer.status}.`, mend = '' } = body.error ?? {};
  throw Object.assign(new Error(`${message} ${mend}`.trim()), { status: answer.status });
}
