import { compileCommandGlob, type Glob } from '#core/permissions/glob.ts';
import { spellings, splitCommand } from '#core/permissions/split-command.ts';
import { builtIn } from './built-in.ts';
import type { Hook } from './hook.ts';

interface Forbidden {
  readonly why: string;
  readonly pattern: RegExp;
}

/**
 * What no approval lets through, because nobody who reads it can say what it does, or because it reaches for the
 * machinery around the sandbox. Ordinary dangerous work (`rm -rf build`, `git push --force`, `curl … | sh`) is not here:
 * grants and people decide about that. Matched against every reading of the line, without quotes and wrappers.
 */
const forbiddenCommands: readonly Forbidden[] = [
  {
    why: 'it reaches for a socket the worker uses to talk to the sandbox',
    pattern:
      /(?:^|[\s=:,@])(?:unix:(?:\/\/)?|UNIX-(?:CONNECT|LISTEN|CLIENT|SENDTO):)?\/run\/(?:\.?\/){0,20}host\/(?:\.?\/){0,20}[^/\s]*\.sock\b/i,
  },
  { why: 'it reaches for the socket of a container engine', pattern: /\/(?:docker|podman|containerd|crio)\.sock\b/ },
  {
    why: 'it reaches for the memory or the processes of the machine',
    pattern:
      /\/proc\/(?:1|sys\/kernel\/core_pattern|sysrq-trigger|kcore|kallsyms)(?:\/(?:mem|environ|root|fd|ns)\b|$|\s)/,
  },
  {
    why: 'it asks for the metadata of a cloud machine',
    pattern: /\b169\.254\.169\.254\b|\bmetadata\.google\.internal\b|\[?fd00:ec2::254\]?/i,
  },
  { why: 'it removes everything there is', pattern: /^rm (?=.*--no-preserve-root)/ },
  {
    why: 'it writes over a disk',
    pattern:
      /^(?:dd .*\bof=|> ?|tee (?:-a )?|shred .*|wipefs .*|mkfs\S* .*)\/dev\/(?:sd|hd|vd|xvd|nvme|mmcblk|mem\b|kmem\b|port\b)/,
  },
];

/** Shapes of a whole line outside quotes: the parts alone look harmless. */
const forbiddenLines: readonly Forbidden[] = [
  {
    why: 'it multiplies itself without end',
    // From the beginning of a name only, and bounded: otherwise a word of 100,000 letters takes seconds.
    pattern: /(?<![\w:.])([\w:.]{1,80})\s{0,9}\(\)\s{0,9}\{[^}]{0,80}\1\s{0,9}\|\s{0,9}\1\s{0,9}&[^}]{0,50}\}\s{0,9};/,
  },
  {
    why: 'it decodes something and runs it unread',
    pattern:
      /\b(?:base(?:64|32)\s+(?:-\w*[dD]\w*|--decode)|openssl\s+(?:enc\s+.{0,100}-d|base64\s+.{0,100}-d)|xxd\s+(?:-\w+\s+)*-\w*r\w*|uudecode|tr\s+A-Za-z\s+N-ZA-Mn-za-m)\b[^;\n]{0,300}\|\s*(?:(?:sudo|env|exec|nohup|command)\s+)*(?:\/\S{0,80}\/)?(?:(?:ba|z|k|da|a)?sh|python3?|perl|ruby|node|php)\b(?!\s+\S*\.\w)/i,
  },
];

/** Something that decodes, and what runs what comes out of it; between the two stand 300 characters at most. */
const decoder = /\b(?:base(?:64|32)\s+(?:-\w*[dD]\w*|--decode)|xxd\s+(?:-\w+\s+)*-\w*r)/g;
const runner =
  /(?:\beval\b|\b(?:ba|z|k|da)?sh\s+-\w*c\b|(?:^|[;&|\s])(?:source|\.)\s)[^;\n]{0,100}(?:\$\(|`|<\()[^;\n]{0,300}$/;
const runnerCharsMax = 450;
/** Decoders looked at in one line: each costs a look at what stands before it. */
const decodersMax = 200;

/** Code given to an interpreter: the same two things in its own words. */
const forbiddenCode: readonly Forbidden[] = [
  {
    why: 'it reaches for a socket the worker uses to talk to the sandbox',
    pattern: /['"`](?:unix:(?:\/\/)?)?\/run\/host\/[^/'"`]*\.sock['"`]/i,
  },
  {
    why: 'it decodes something and runs it unread',
    pattern:
      /\b(?:exec|eval|compile)\s*\(\s*(?:[\w.]+\s*\(\s*){0,6}(?:\w+\.)?(?:b64decode|b32decode|b85decode|a85decode|unhexlify|fromhex|decompress)\s*\(/,
  },
  {
    why: 'it multiplies itself without end',
    pattern: /\bwhile\s*(?:\(?\s*(?:True|1|true)\s*\)?)\s*[:{]\s*(?:\w+\.)?fork\s*\(/,
  },
];

/**
 * Longest command that is judged; a longer one is not carried out, because what was not read could stand at its end. No
 * command anybody writes is as long, and what is, is a file.
 */
const judgedCharsMax = 65_536;
const tooLong = 'it is too long to be judged; put its content into a file and run that';

/** Arguments that are a command line, and those that are code, whatever the tool is called. */
const commandKeys: readonly string[] = ['command', 'commands', 'cmd'];
const codeKeys: readonly string[] = ['code', 'script', 'expression'];

export interface DangerousCommandsOptions {
  /** Command patterns as in grants that are blocked as well. */
  readonly also: readonly string[];
}

/** Blocks what no approval should let through. A help against mistakes and crude tricks: the wall is the sandbox. */
export function dangerousCommandsHook(options: DangerousCommandsOptions): Hook {
  const also = options.also.map((pattern) => compileCommandGlob(pattern));
  return {
    ...builtIn('dangerous-commands'),
    beforeTool: ({ tool, args }) => {
      if (typeof args !== 'object' || args === null) return { action: 'continue' };
      for (const [key, value] of Object.entries(args)) {
        const read = readerOf(tool, key, args);
        const texts = (Array.isArray(value) ? value : [value]).filter((text) => typeof text === 'string');
        const why = texts.map((text) => read?.(text, also)).find((found) => found !== undefined);
        if (why === undefined) continue;
        const reason = `${why}. No approval allows that here. Do it in a plain way, or say that it cannot be done.`;
        return { action: 'block', reason };
      }
      return { action: 'continue' };
    },
  };
}

type Reader = (text: string, also: readonly Glob[]) => string | undefined;

/** How an argument is read: as a command, as code, or not at all. */
function readerOf(tool: string, key: string, args: object): Reader | undefined {
  if (commandKeys.includes(key)) return forbiddenCommand;
  if (codeKeys.includes(key)) return (text) => findIn(forbiddenCode, text);
  // What a running shell or interpreter is fed is a command as well; what `cat` is fed is not.
  if ((tool === 'job_input' || tool === 'terminal') && key === 'text') return forbiddenInput;
  const command: unknown = Reflect.get(args, 'command');
  const isShell =
    typeof command === 'string' && /^\s*(?:\S*\/)?(?:(?:ba|z|k|da|a)?sh|python3?|node|perl)\b[^|;&]*$/.test(command);
  if (key !== 'stdin' || !isShell) return undefined;
  // Without a script of its own the interpreter runs what it reads; with one that is data, of which there may be much.
  const isProgram = /^\s*\S+(?:\s+-\S*)*\s*$/.test(command);
  return isProgram ? forbiddenInput : (text, also) => forbiddenInput(text.slice(0, judgedCharsMax), also);
}

function forbiddenInput(text: string, also: readonly Glob[]): string | undefined {
  return forbiddenCommand(text, also) ?? findIn(forbiddenCode, text);
}

/** Why a command line is not carried out at all; undefined when it may be. */
export function forbiddenCommand(line: string, also: readonly Glob[] = []): string | undefined {
  if (line.length > judgedCharsMax) return tooLong;
  const command = splitCommand(line);
  const spelt = spellings(line, command);
  // As with grants: what cannot be followed counts as touched by every pattern.
  if (spelt === undefined && also.length > 0)
    return 'it is too long or too deep to say whether the operator forbids it';
  const readings = spelt ?? [line];
  for (const reading of readings) {
    const why = isMention(reading) ? undefined : findIn(forbiddenCommands, reading);
    if (why !== undefined) return why;
    if (also.some((glob) => glob.matches(reading))) return 'the operator forbids this command';
  }
  // Code handed to an interpreter stands in quotes, so it is looked at with them.
  const inCode = /(?:^|[\s;&|(])(?:\/\S{0,80}\/)?(?:python3?|node|perl|ruby|php)\b/.test(line)
    ? findIn(forbiddenCode, line)
    : undefined;
  if (inCode !== undefined) return inCode;
  const bare = withoutQuoted(line);
  return findIn(forbiddenLines, bare) ?? runsDecoded(bare);
}

/** Whether something decoded is handed to what runs it: every decoder first, and then back from it. */
function runsDecoded(line: string): string | undefined {
  let seen = 0;
  for (const { index } of line.matchAll(decoder)) {
    seen += 1;
    if (seen > decodersMax) return 'it decodes too much at once to be judged';
    if (runner.test(line.slice(Math.max(0, index - runnerCharsMax), index))) {
      return 'it decodes something and runs it unread';
    }
  }
  return undefined;
}

/** Words given to a command that only shows or finds them. */
function isMention(reading: string): boolean {
  return /^(?:echo|printf|grep|egrep|fgrep|rg|git (?:commit|log|grep)|ls|stat|test|\[)\s/.test(reading);
}

function findIn(list: readonly Forbidden[], text: string): string | undefined {
  return list.find(({ pattern }) => pattern.test(text))?.why;
}

/**
 * A line with what stands in quotes blanked, so that a text about a trick is not taken for the trick. What a shell is
 * given to run (`sh -c '…'`, `eval "…"`) stays.
 */
function withoutQuoted(line: string): string {
  return line.replaceAll(/'[^']*'|"(?:[^"\\]|\\.)*"/gs, (quoted: string, at: number) => {
    const before = line.slice(Math.max(0, at - 60), at);
    const isRun = /(?:\b(?:ba|z|k|da|a)?sh\s+(?:-\w+\s+)*-\w*c|\beval)\s*$/.test(before);
    const runsInside = quoted.startsWith('"') && /\$\(|`/.test(quoted);
    return isRun || runsInside
      ? ` ${quoted.slice(1, -1)} `
      : quoted.includes(' ') || quoted.length > 40
        ? "''"
        : quoted.slice(1, -1);
  });
}
