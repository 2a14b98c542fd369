/**
 * Shapes of credentials that are unmistakable: a prefix of the vendor's own, or a key block. A word that merely looks
 * random is not among them, because commit hashes and ids look the same.
 */
const shapes: readonly { readonly what: string; readonly pattern: RegExp }[] = [
  { what: 'a private key', pattern: /-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----/ },
  { what: 'an Anthropic key', pattern: /\bsk-ant-[\w-]{20,}/ },
  { what: 'an OpenAI key', pattern: /\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}/ },
  { what: 'a Slack token', pattern: /\bx(?:ox[abeprs]|app)-[\w-]{10,}/ },
  { what: 'a GitHub token', pattern: /\b(?:gh[opusr]_[A-Za-z0-9]{30,}|github_pat_\w{30,})/ },
  { what: 'a GitLab token', pattern: /\bglpat-[\w-]{20,}/ },
  { what: 'an AWS key', pattern: /\b(?:AKIA|ASIA)[0-9A-Z]{16}\b/ },
  { what: 'a Google key', pattern: /\bAIza[\w-]{35}\b/ },
  { what: 'a Stripe key', pattern: /\b[rs]k_live_[A-Za-z0-9]{20,}/ },
  { what: 'a Telegram bot token', pattern: /\b\d{8,10}:[\w-]{35}\b/ },
  { what: 'a Discord bot token', pattern: /\b[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,}/ },
  { what: 'an npm token', pattern: /\bnpm_[A-Za-z0-9]{36}\b/ },
];

/** What kind of credential a text contains, such as `an OpenAI key`; undefined when none is recognised. */
export function findSecret(text: string): string | undefined {
  return shapes.find(({ pattern }) => pattern.test(text))?.what;
}
