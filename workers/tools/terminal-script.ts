import { terminalSocket } from '#core/sandboxes/terminal-socket.ts';
import { quoted } from './shell-quote.ts';

const columns = 160;
const rows = 48;
const historyLines = 5_000;
/** How often a terminal is looked at while something is waited for. */
const pollSeconds = 0.1;

/** What the scripts end with when there is nothing to work on. */
export const exitCodes = { noTerminal: 44, wrongPattern: 45, exists: 46, tooMany: 47, noServer: 48 } as const;

const folder = terminalSocket.slice(0, terminalSocket.lastIndexOf('/'));
/** `-N` starts no server: it would end with the call. The one there is runs as a background job. */
const tmux = `tmux -u -N -S ${terminalSocket} -f /dev/null`;

/** The server of all terminals of a session, for a background job: it ends with the last terminal. */
export const serverCommand = `mkdir -p -m 700 ${folder} && exec env -u TMUX -u TMUX_PANE tmux -u -S ${terminalSocket} -f /dev/null -D`;

/** Waits until the server answers. */
export const awaitServer = `for i in {1..50}; do ${tmux} list-sessions >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit ${exitCodes.noServer}`;

/** Nothing of a program reaches further than its own terminal: no clipboard, no titles, no names, no passed on sequences. */
const settings = [
  'set -s set-clipboard off',
  "set -g update-environment ''",
  'set -g default-shell /bin/bash',
  'set -g default-terminal screen-256color',
  `set -g history-limit ${historyLines}`,
  'set -g remain-on-exit on',
  "set -g remain-on-exit-format ''",
  'set -g allow-rename off',
  'set -g automatic-rename off',
  'set -g allow-passthrough off',
  'set -g set-titles off',
  'set -g bell-action none',
  'set -g status off',
  'set -g mouse off',
  'set -g prefix None',
  'unbind -a -T root',
  'bind -T root C-] detach-client',
].join(' \\; ');

/** Whether a server answers at all. */
export const askServer = `${tmux} list-sessions >/dev/null 2>&1 || exit ${exitCodes.noServer}`;

/** Opens a terminal in the directory the script runs in. */
export function openScript(name: string, command: string | undefined, terminalsMax: number): string {
  const program = command === undefined ? 'bash --noprofile --norc' : `bash -c ${quoted(command)}`;
  return [
    `${tmux} has-session -t ${target(name)} 2>/dev/null && exit ${exitCodes.exists}`,
    `[ "$(${tmux} list-sessions 2>/dev/null | wc -l)" -lt ${terminalsMax} ] || exit ${exitCodes.tooMany}`,
    `${tmux} ${settings} \\; new-session -d -s ${name} -x ${columns} -y ${rows} -c "$PWD" -- ${program} \\; set -s exit-empty on || exit 1`,
  ].join('\n');
}

interface WaitFor {
  /** What stood there before is shown as well: of a terminal that was opened just now. */
  readonly isWhole?: boolean;
  /** A regular expression in ripgrep's syntax, matched against each line that is new. */
  readonly pattern: string | undefined;
  readonly quietMs: number;
  readonly timeoutMs: number;
}

/** Types what the script reads as its input, presses keys, waits, and shows what is new. */
export function sendScript(name: string, keys: readonly string[], wait: WaitFor): string {
  const at = target(name, ':');
  const isTyped = `text=$(cat; echo x); text=\${text%x}; if [ -n "$text" ]; then printf '%s' "$text" | ${tmux} load-buffer -b typed - \\; paste-buffer -d -b typed -t ${at}; fi`;
  const pressed = keys.length === 0 ? ':' : `${tmux} send-keys -t ${at} -- ${keys.map(quoted).join(' ')}`;
  return [
    requireTerminal(name),
    ...(wait.pattern === undefined ? [] : [checkPattern(wait.pattern)]),
    wait.isWhole === true
      ? 'begin=0'
      : `begin=$(${tmux} display-message -p -t ${at} '#{e|+:#{history_size},#{cursor_y}}')`,
    isTyped,
    pressed,
    waitAndShow(name, wait),
  ].join('\n');
}

/** Shows a terminal from `begin` on, which counts from the first line that is kept. */
function waitAndShow(name: string, { pattern, quietMs, timeoutMs }: WaitFor): string {
  const at = target(name, ':');
  const isDone =
    pattern === undefined
      ? `[ $(( now - changed )) -ge ${quietMs * 1000} ] && { ended=quiet; break; }`
      : `printf '%s\\n' "$text" | rg --no-config -q -e ${quoted(pattern)} && { ended=found; break; }`;
  return [
    `micros() { local t=$EPOCHREALTIME; now=\${t/[.,]/}; }`,
    `look() { facts=$(${tmux} display-message -p -t ${at} '#{pane_dead} #{alternate_on} #{history_size} #{cursor_x} #{cursor_y}') || exit ${exitCodes.noTerminal}`,
    `  read -r dead alternate history x y <<<"$facts"`,
    // A program that takes the whole screen has no lines that are new; neither has a history that was cut.
    `  if [ "$alternate" = 1 ] || [ "$history" -ge ${historyLines - historyLines / 10} ]; then from=0; else from=$(( begin - history )); fi`,
    `  text=$(${tmux} capture-pane -p -J -t ${at} -S "$from" | sed 's/[[:space:]]*$//'); }`,
    'micros; start=$now; changed=$now; last=; ended=timeout',
    `while :; do look; micros; if [ "$facts$text" != "$last" ]; then last=$facts$text; changed=$now; fi`,
    `  ${isDone}`,
    `  [ "$dead" = 1 ] && { ended=dead; break; }`,
    `  [ $(( now - start )) -ge ${timeoutMs * 1000} ] && break; sleep ${pollSeconds}; done`,
    `printf '%s ' "$ended"; ${describe(at)}; printf '%s\\n' "$text"`,
  ].join('\n');
}

/** Shows the last lines of a terminal, what has scrolled away with them. */
export function readScript(name: string, lines: number): string {
  const at = target(name, ':');
  return [
    requireTerminal(name),
    `printf 'read '; ${describe(at)}`,
    `${tmux} capture-pane -p -J -t ${at} -S -${historyLines} | sed 's/[[:space:]]*$//' | sed -e :a -e '/^\\n*$/{$d;N;ba' -e '}' | tail -n ${lines}`,
  ].join('\n');
}

export function closeScript(name: string): string {
  return `${requireTerminal(name)}\n${tmux} kill-session -t ${target(name)}`;
}

export const listScript = `${tmux} list-panes -a -F '#{session_name} #{pane_dead} #{pane_dead_status} #{pane_dead_signal}|#{pane_current_command}' 2>/dev/null || true`;

/** One line: whether its program has ended and how, and where its cursor is. */
function describe(at: string): string {
  return `${tmux} display-message -p -t ${at} '#{pane_dead} #{pane_dead_status} #{pane_dead_signal}|#{alternate_on}'`;
}

function requireTerminal(name: string): string {
  return `${tmux} has-session -t ${target(name)} 2>/dev/null || exit ${exitCodes.noTerminal}`;
}

function checkPattern(pattern: string): string {
  return `said=$(printf '' | rg --no-config -q -e ${quoted(pattern)} 2>&1); [ $? -le 1 ] || { printf '%s' "$said"; exit ${exitCodes.wrongPattern}; }`;
}

/** Exactly this one, not one whose name begins so. */
function target(name: string, pane = ''): string {
  return `'=${name}${pane}'`;
}
