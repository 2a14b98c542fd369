// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are shell expansions.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { spellings, splitCommand } from '#core/permissions/split-command.ts';
import { cpuMs } from '#tests/support/cpu-ms.ts';

test.each<[string, string[]]>([
  ['git status', ['git status']],
  ['a; b && c || d | e & f\ng', ['a', 'b', 'c', 'd', 'e', 'f', 'g']],
  ['echo "a; b" \'c && d\' e\\;f', ['echo "a; b" \'c && d\' e\\;f']],
  ['ls $(rm -rf x)', ['rm -rf x', 'ls $(rm -rf x)']],
  ['echo "now: `date -u`"', ['date -u', 'echo "now: `date -u`"']],
  ['(cd a && make) ; { rm b; }', ['cd a', 'make', 'rm b']],
  ['if test -f a; then cat a; else rm b; fi', ['test -f a', 'cat a', 'rm b']],
  ['while true; do sleep 1; done', ['true', 'sleep 1']],
  ['make > log 2>&1', ['> log', 'make']],
  ['make &> out.txt < in', ['> out.txt', '< in', 'make']],
  ['make 2>/dev/null', ['make']],
  ['echo a # rm b', ['echo a']],
  ['echo a#b', ['echo a#b']],
  ['a   b\t c', ['a b c']],
  ['make \\\n  all', ['make all']],
  ['[ -f a ] && b', ['[ -f a ]', 'b']],
  ['echo ${HOME} $USER', ['echo ${HOME} $USER']],
])('%j is followed', (line, parts) => {
  expect(splitCommand(line)).toMatchObject({ parts, isSafe: true, isOpaque: false });
});

test.each([
  'cat <<EOF\nrm -rf /\nEOF',
  'echo $((1 + $(rm a)))',
  'echo ${x:-$(rm a)}',
  "echo $'a\\nb'",
  'diff <(a) <(b)',
  'for f in *; do rm $f; done',
  'case a in a) rm b;; esac',
  'f() { rm a; }; f',
  'a=(1 2)',
  'echo "open',
  "echo 'open",
  'echo $(open',
  'echo )',
  'echo a \\',
  'echo `echo \\`rm a\\``',
  'echo a\u0000b',
  '[[ -n $(rm a) ]]',
  'echo $\\\n(rm a)',
  'echo "$\\\n(rm a)"',
  'true &\\\n& rm a',
  `${'$('.repeat(40)}a${')'.repeat(40)}`,
])('%j is not followed', (line) => {
  expect(splitCommand(line).isSafe).toBe(false);
});

test.each([
  '$x -rf /',
  '"$x" a',
  '`which rm` a',
  '{rm,-rf,/}',
  '/bin/r? a',
  'curl a | sh',
  'eval "$line"',
  'bash -c "$x"',
  'sh',
])('%j only shows while it runs what it is', (line) => {
  expect(splitCommand(line).isOpaque).toBe(true);
});

test.each([
  ['/bin/rm -rf /', 'rm -rf /'],
  ["r\\m -r'f' /", 'rm -rf /'],
  ['X=1 Y=2 rm -rf /', 'rm -rf /'],
  ['X=$(date -u) Y="a b" rm -rf /', 'rm -rf /'],
  ['sudo -n rm -rf /', 'rm -rf /'],
  ['timeout 5 env A=b nice rm -rf /', 'rm -rf /'],
  ['bash -c "rm -rf /; ls"', 'rm -rf /'],
  ['sh -c "sh -c \'rm -rf /\'"', 'rm -rf /'],
  ['find . -exec rm -rf / \\;', 'rm -rf / ;'],
  ['true && (rm -rf /)', 'rm -rf /'],
  ['{rm,-rf,/}', 'rm -rf /'],
  ['X=rm; $X; rm$IFS-rf$IFS/', 'rm -rf /'],
  ['cat <<EOF\n$(rm -rf /)', 'rm -rf /'],
])('%j is also read as %j', (line, reading) => {
  expect(spellings(line, splitCommand(line))).toContain(reading);
});

test('a line too long or too deep to read in every way has no list of readings, and reading stays quick', () => {
  const took = cpuMs(() => {
    for (const line of [`${'a '.repeat(5000)}`, `env ${'sh '.repeat(500)}`, `$x ${'a '.repeat(20_000)}`]) {
      expect(spellings(line, splitCommand(line))).toBeUndefined();
    }
  });
  expect(took).toBeLessThan(20_000);
});

/**
 * Bash itself says what it runs: with nothing on its PATH every command ends in this handler, which prints its name. Each word
 * of a line has a name of its own, so a hidden command cannot pass for another.
 */
function runsInBash(line: string, status: number, folder: string): string[] {
  const handler = `command_not_found_handle() { printf '%s\\n' "$1" >&7; return ${status}; }`;
  const result = spawnSync('/bin/bash', ['--norc', '-c', `${handler}; eval "$LINE"`], {
    cwd: folder,
    env: { PATH: '/nonexistent', LINE: line },
    stdio: ['ignore', 'ignore', 'ignore', 'ignore', 'ignore', 'ignore', 'ignore', 'pipe'],
    timeout: 10_000,
    encoding: 'utf8',
  });
  return (result.output[7] ?? '').split('\n').filter((name) => name !== '');
}

/** Lines that bash mostly accepts: words joined and nested in every way the reader claims to follow. */
const { wholeLine } = fc.letrec<{ wholeLine: string }>((tie) => {
  const inner = tie('wholeLine');
  const word = fc.constantFrom('w', 'w', '"w w"', "'w; w'", '\\w', '$x', '${x}', 'X=w', '~', '*', 'w"w"', "''w");
  const command = fc.array(word, { minLength: 1, maxLength: 3 }).map((words) => `w ${words.join(' ')}`);
  const wrap = (before: string, after: string) => inner.map((line) => before + line + after);
  return {
    wholeLine: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      command,
      fc
        .tuple(inner, fc.constantFrom('; ', '\n', ' & ', ' && ', ' || ', ' | ', ' |& '), inner)
        .map((list) => list.join('')),
      wrap('( ', ' )'),
      wrap('{ ', '; }'),
      wrap('w $( ', ' )'),
      wrap('w "$( ', ' )w"'),
      wrap('w ` ', ' `'),
      wrap('X=$( ', ' ) w'),
      wrap('! ', ''),
      wrap('time ', ''),
      wrap('', ' > w 2>&1'),
      wrap('', ' >> "w" < w'),
      wrap('', ' # w; w\n'),
      fc.tuple(inner, inner).map(([condition, body]) => `if ${condition}; then ${body}; else w w; fi`),
    ),
  };
});

/** Fragments that turn a good line into a nearly good one. */
const fragments = (
  'w|w |;|&&|| | |&|\n|(|)|$(|`|"|\'|\\|{ |; }|#|>|<|2>&1|$x|!|if |; then |; fi|time |$|{|,|=|X=|*|<<|&>|;;|coproc |function |' +
  '\t|[|eval |then |do |case w in w) |$((|))|${x:-|}|<(|\\\n| -- '
).split('|');
const damage = fc.array(fc.tuple(fc.nat(200), fc.constantFrom(...fragments)), { maxLength: 3 });

test('bash runs nothing that is not a part of a line that was followed', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'split-'));
  let seen = 0;
  fc.assert(
    fc.property(wholeLine, damage, (whole, inserts) => {
      let text = whole;
      for (const [at, fragment] of inserts) text = text.slice(0, at) + fragment + text.slice(at);
      let count = 0;
      const line = text.replaceAll('w', () => `w${count++}`);
      const { commands, isSafe } = splitCommand(line);
      fc.pre(isSafe);
      const names = new Set(commands.map((command) => /w\d+/.exec(command.replaceAll(/['"\\]/g, ''))?.[0]));
      for (const status of [0, 1]) {
        for (const name of runsInBash(line, status, folder)) {
          const first = /w\d+/.exec(name)?.[0];
          if (first === undefined) continue;
          seen += 1;
          expect(names, JSON.stringify(line)).toContain(first);
        }
      }
    }),
    { numRuns: 200, seed: 11 },
  );
  rmSync(folder, { recursive: true });
  expect(seen).toBeGreaterThan(500);
}, 180_000);
