import type { KnownEvent } from '../inbox/known-event.ts';
import type { Tx } from '../kit/database.ts';
import { formatDuration } from '../kit/duration.ts';
import { AppError } from '../kit/errors.ts';
import { burnCode } from '../people/burn-code.ts';
import { createPairingCode } from '../people/create-pairing-code.ts';
import { linkIdentity, unlinkIdentity } from '../people/link-identity.ts';
import { allowPerson, changeRole, listPeople, removePerson, shortId } from '../people/manage-people.ts';
import { createCode } from '../people/one-time-code.ts';
import { listPairingCodes, revokePairingCodes } from '../people/pairing-codes.ts';
import { isAdministrator, type PersonRole } from '../people/person.ts';
import type { Command, CommandReply } from './command.ts';
import type { CommandDeps } from './command-deps.ts';

/** How long a pairing code made in a chat can be used. */
const pairingMs = 60 * 60_000;

const roles: readonly PersonRole[] = ['owner', 'admin', 'member'];

/** Who may use the product, and which accounts are one person. */
export function peopleCommands(deps: CommandDeps): Record<string, Command> {
  return {
    link: async (tx, known, args) => await link(tx, known, args),
    unlink: async (tx, known) => {
      if (known.event.actor.isOperator === true) {
        throw new AppError('command.invalid', 'Whoever can use this place is always the owner.', {
          mend: 'Send /unlink from the account you want to separate.',
        });
      }
      await unlinkIdentity(tx, known.identity, known.person);
      return {
        markdown: `This account is not **${known.person.displayName}**'s any more. To use me from it again, send a code from \`/link\` or \`/pair\`.`,
      };
    },
    pair: async (tx, known, args) => await pair(deps, tx, known, args),
    people: async (tx, known) => {
      requireAdministrator(known, 'see who I work for');
      if (known.event.conversation.kind !== 'dm') {
        return { level: 'warn', markdown: 'Everyone here would read who they are. Send me `/people` in private.' };
      }
      const { people, strangers } = await listPeople(tx);
      const now = Date.now();
      const lines = people.map((person) => {
        const accounts = person.accounts.map(({ channel, externalId }) => `${channel} \`${plain(externalId)}\``);
        const seen =
          person.lastSeenAt === undefined ? '' : `, seen ${formatDuration(now - person.lastSeenAt.getTime())} ago`;
        return `- \`${shortId(person.id)}\` **${plain(person.displayName)}** (${person.role}): ${accounts.join(', ') || 'no account'}${seen}`;
      });
      const asked = strangers.map(
        ({ id, displayName, channel, externalId }) =>
          `- \`${shortId(id)}\` ${plain(displayName)}: ${channel} \`${plain(externalId)}\``,
      );
      return {
        markdown: [
          ...lines,
          ...(asked.length === 0 ? [] : ['', 'Wrote to me and are not let in:', ...asked]),
          '',
          '`/allow id`, `/remove id`, `/role id admin` change that.',
        ].join('\n'),
      };
    },
    allow: async (tx, known, args) => {
      const person = await allowPerson(tx, known.person, args);
      return { markdown: `I work for **${plain(person.displayName)}** from now on.` };
    },
    remove: async (tx, known, args) => {
      const person = await removePerson(tx, known.person, args);
      return { markdown: `I do nothing for **${plain(person.displayName)}** any more.` };
    },
    role: async (tx, known, args) => {
      const words = args.split(/\s+/);
      const wanted = words.pop() ?? '';
      const who = words.join(' ');
      const role = roles.find((item) => item === wanted.toLowerCase());
      if (role === undefined) {
        throw new AppError('command.invalid', `There is no role "${plain(wanted).slice(0, 40)}".`, {
          mend: 'Write /role, who, and owner, admin or member.',
        });
      }
      const person = await changeRole(tx, known.person, who, role);
      return { markdown: `**${plain(person.displayName)}** is ${role} from now on.` };
    },
  };
}

/** Spoils a code that was sent where others read it. @returns what to say then; undefined for anything else. */
export async function spoilPublicCode(tx: Tx, known: KnownEvent, args: string): Promise<CommandReply> {
  if (known.event.conversation.kind === 'dm' || args.trim() === '') return undefined;
  return (await burnCode(tx, args, known.identity))
    ? {
        level: 'warn',
        markdown:
          'Everyone here has read that code, so it does not work any more. Make a new one and send it to me in private.',
      }
    : undefined;
}

async function link(tx: Tx, known: KnownEvent, args: string): Promise<CommandReply> {
  const { conversation } = known.event;
  if (conversation.kind !== 'dm') {
    return (
      (await spoilPublicCode(tx, known, args)) ?? {
        level: 'warn',
        markdown: 'A code makes its finder you. Send me `/link` in private.',
      }
    );
  }
  if (args === '') {
    const code = await createCode(tx, known, { kind: 'link' });
    return {
      markdown: `Within 10 minutes, send me \`/link ${code}\` from your other account, in private. Whoever sends it becomes **${plain(known.person.displayName)}**, so show it to nobody.`,
    };
  }
  const result = await linkIdentity(tx, known.identity, args, conversation);
  switch (result.kind) {
    case 'linked':
      return { markdown: `This account is **${plain(result.person.displayName)}**'s too from now on.` };
    case 'asked':
      return {
        level: 'info',
        markdown:
          'Both accounts belong to somebody I know already. I have asked for a confirmation from the other side and tell you here.',
      };
    case 'refused':
      return { level: 'warn', markdown: result.why };
    case 'locked':
      return { level: 'warn', markdown: 'Too many wrong codes came from here. Try again in an hour.' };
  }
}

async function pair(deps: CommandDeps, tx: Tx, known: KnownEvent, args: string): Promise<CommandReply> {
  requireAdministrator(known, 'let someone in');
  const [word = '', id] = args.toLowerCase().split(/\s+/);
  switch (word) {
    case 'list': {
      const codes = await listPairingCodes(tx);
      if (codes.length === 0) return { level: 'info', markdown: 'No pairing code is open.' };
      const now = Date.now();
      const lines = codes.map(
        (code) =>
          `- \`${code.id}\` for one ${code.role}, by ${plain(code.createdBy ?? 'the operator')}, ${formatDuration(code.expiresAt.getTime() - now)} left`,
      );
      return {
        markdown: [...lines, '', 'Take one back with `/pair revoke id`, or all with `/pair revoke`.'].join('\n'),
      };
    }
    case 'revoke': {
      const count = await revokePairingCodes(tx, id, known.person.id);
      return { level: 'info', markdown: count === 0 ? 'There is no such code.' : `Revoked: ${count}.` };
    }
    case '':
    case 'member':
    case 'admin': {
      if (known.event.conversation.kind !== 'dm') {
        return { level: 'warn', markdown: 'Everyone here would read the code. Send me `/pair` in private.' };
      }
      const role = word === 'admin' ? 'admin' : 'member';
      // Otherwise an administrator could make others, and outlive their own removal as one of them.
      if (role === 'admin' && known.person.role !== 'owner') {
        throw new AppError('grant.missing', 'Only an owner can let in an administrator.', { mend: 'Ask an owner.' });
      }
      const code = await createPairingCode(deps, { role, createdBy: known.person.id, validMs: pairingMs });
      return { markdown: `They send me \`/start ${code}\` within an hour and become **${role}**.` };
    }
    default:
      throw new AppError('command.invalid', `I cannot make a code for "${plain(word).slice(0, 40)}".`, {
        mend: 'Use /pair, /pair admin, /pair list or /pair revoke.',
      });
  }
}

function requireAdministrator(known: KnownEvent, what: string): void {
  if (isAdministrator(known.person.role)) return;
  throw new AppError('grant.missing', `Only an owner or admin can ${what}.`, { mend: 'Ask one of them.' });
}

/** A name or id of somebody's own making, so that it cannot put marks into our text. */
function plain(text: string): string {
  return text
    .replaceAll(/[\s*_`[\]<>|~]+/g, ' ')
    .trim()
    .slice(0, 80);
}
