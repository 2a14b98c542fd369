import { spellings, splitCommand } from '#core/permissions/split-command.ts';
import type { Risk } from './tool.ts';

/**
 * Commands that destroy, take over or cannot be taken back, wherever they run. Matched against every reading of the
 * line, so that quotes, folders and wrappers such as `env` or `timeout 5` hide nothing. A heuristic for people who
 * approve: the walls are the sandbox and the grants.
 */
const dangerous: readonly RegExp[] = [
  // Everything below the root, the home or the workspace at once.
  /^rm (?=.*(?:-\w*[rR]|--recursive)).* (?:\/|\/\*|~\/?|~\/\*|\$HOME\/?\*?|\.|\.\/|\.\.\/?|\*|\/workspace\/?\*?|\/(?:bin|boot|dev|etc|home|lib|opt|root|sbin|srv|usr|var)(?:\/\*?)?)(?: |$)/,
  /--no-preserve-root/,
  /^find \/(?:workspace)?\/? .*-delete/,
  /^(?:mkfs(?:\.\w+)?|mke2fs|wipefs|fdisk|sfdisk|parted|blkdiscard|shred|cryptsetup)(?: |$)/,
  /^dd .*\bof=\/dev\/(?!null\b|zero\b|stdout\b)/,
  /^> ?\/dev\/(?:sd|hd|vd|xvd|nvme|mmcblk|mem|kmem|port)/,
  /^(?:shutdown|reboot|halt|poweroff|init [06]|telinit|systemctl (?:poweroff|reboot|halt|isolate))(?: |$)/,
  /^kill (?:-\w+ )*(?:-1|1)(?: |$)/,
  /^(?:killall|pkill) (?:-9|-KILL) (?:-u|\.)/,
  /^chmod (?=.*(?:-\w*R|--recursive)).*(?:[0-7]?777|a\+rwx|ugo\+rwx)/,
  /^(?:chmod|chown|chgrp) (?=.*(?:-\w*R|--recursive)).* \/(?: |$)/,
  /^git push(?= ).* (?:-f|--force(?:-with-lease)?(?:=\S+)?|--mirror|--delete|\+\S+|:\S+)(?: |$)/,
  /^git (?:reset --hard|clean (?=.*-\w*f)|filter-branch|filter-repo|reflog expire|update-ref -d)/,
  /^(?:sudo|doas|su|pkexec|nsenter|insmod|modprobe|rmmod|sysctl -w)(?: |$)/,
  /^(?:docker|podman) .*(?:--privileged|docker\.sock)/,
  /^(?:iptables|nft|ufw) /,
  /^(?:crontab -r|history -c|userdel|groupdel|passwd)(?: |$)/,
  /^(?:npm|yarn|pnpm|cargo|gem|twine|poetry) (?:publish|push|upload|unpublish|yank)/,
  /^(?:terraform|tofu|pulumi) (?:destroy|apply.* -?-auto-approve)/,
  /^kubectl (?:delete|drain)(?: |$)/,
  /^(?:psql|mysql|sqlite3|mariadb) .*(?:drop (?:table|database|schema)|truncate )/i,
  /^> ?(?:~|\$HOME|\/root|\/home\/\w+)\/\.(?:bashrc|profile|bash_profile|zshrc|ssh\/)/,
  /^> ?\/etc\//,
];

/** Shapes of a whole line: the parts alone look harmless. */
const dangerousLines: readonly RegExp[] = [
  // Something fetched goes straight into an interpreter.
  /\b(?:curl|wget|fetch)\b[^;&]*\|\s*(?:sudo\s+)?(?:\/\S*\/)?(?:ba|z|k|da)?sh\b/,
  /\b(?:curl|wget)\b[^;&]*\|\s*(?:sudo\s+)?(?:python3?|perl|ruby|node|php)\b/,
  /\b(?:ba|z|k|da)?sh\b[^;|]*(?:<\(|-c\s*["']?\$\(|<<<\s*["']?\$\()\s*(?:curl|wget)\b/,
  /\b(?:eval|source|\.)\s+["']?(?:\$\(|<\()\s*(?:curl|wget)\b/,
  /\bbase64\s+(?:-d|-D|--decode)\b[^;&]*\|\s*(?:ba|z|k|da)?sh\b/,
  // A function that pipes itself into itself in the background.
  /([\w:.]+)\s*\(\)\s*\{[^}]*\1\s*\|\s*\1\s*&/,
  /\/dev\/tcp\/|\bn(?:c|cat)\b.*\s-\w*e/,
];

/** Longest line whose risk is looked into; it is the longest that `spellings` reads. */
const followedMax = 8192;

/** Commands that only look, given no option that writes. */
const readers = new Set(
  (
    'ls cat head tail wc stat file du df pwd echo printf true false test [ date whoami id uname hostname env printenv ' +
    'which type grep egrep fgrep rg cut sort uniq tr nl tac rev diff cmp comm md5sum sha1sum sha256sum basename ' +
    'dirname realpath readlink tree less more jq ps free uptime cd seq sleep expr column fold od hexdump strings'
  ).split(' '),
);
const gitReaders =
  /^git (?:-C \S+ )?(?:status|log|diff|show|branch(?: -[avr]+)?$|blame|ls-files|rev-parse|describe|shortlog|grep|remote -v)/;
/** Options that make a reader write or run something. */
const writingOptions =
  /^(?:sort .*(?:-o|--output)|tree .*-o |date .*(?:-s|--set)|less .*\+!|env .*\S|rg .*--pre|find .*-(?:exec|delete|ok|fprint))/;
/** Programs with a read-only shape. */
const readingShapes = [
  gitReaders,
  /^find (?!.*-(?:exec|execdir|delete|ok|okdir|fprint|fls))/,
  /^sed -n (?!.*\bw )[^|]*$/,
  /^(?:python3?|node|git|jq|rg) (?:--version|-V)$/,
];

/**
 * How much a command line could do: `high` for what destroys or cannot be taken back, `low` for what only reads,
 * `medium` for the rest (writes, programs, network, lines this reader cannot follow).
 */
export function commandRisk(line: string): Risk {
  // Nobody can approve so much by looking at it, and matching it could take for ever.
  if (line.length > followedMax) return 'high';
  if (dangerousLines.some((shape) => shape.test(line))) return 'high';
  const command = splitCommand(line);
  const readings = spellings(line, command);
  // Too deep to read: nobody can approve it by looking at it either.
  if (readings === undefined) return 'high';
  if (readings.some((reading) => dangerous.some((shape) => shape.test(reading)))) return 'high';
  return command.isSafe && command.parts.length > 0 && command.parts.every(isReading) ? 'low' : 'medium';
}

function isReading(part: string): boolean {
  if (part.startsWith('> ')) return false;
  if (part.startsWith('< ')) return true;
  if (/^[A-Za-z_][A-Za-z0-9_]*=/.test(part) || writingOptions.test(part)) return false;
  return readers.has(part.split(' ', 1)[0] ?? '') || readingShapes.some((shape) => shape.test(part));
}
