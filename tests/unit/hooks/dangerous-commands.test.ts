import { expect, test } from 'vitest';
import { compileCommandGlob } from '#core/permissions/glob.ts';
import { attack } from '#tests/support/attack.ts';
import { cpuMs } from '#tests/support/cpu-ms.ts';
import { dangerousCommandsHook, forbiddenCommand } from '#workers/hooks/dangerous-commands.ts';
import { hookCall } from '../../support/hook-call.ts';

test.each([
  ':(){ :|:& };:',
  'bomb() { bomb | bomb & }; bomb',
  'env X=1 sh -c ":(){ :|:& };:"',
  'echo aGk= | base64 -d | sh',
  'echo aGk= | base64 --decode | bash -x',
  'echo aGk= | base64 -di | /bin/sh',
  "sh -c 'echo aGk= | base64 -d | sh'",
  'base64 -d x.b64 | python3',
  'echo 6f | xxd -r -p | sh',
  'tr A-Za-z N-ZA-Mn-za-m < x | bash',
  'openssl enc -d -aes-256-cbc -in x | sh',
  'eval "$(echo aGk= | base64 -d)"',
  'bash -c "$(base64 -d <<< aGk=)"',
  '. <(base64 -d p)',
  `python3 -c "import base64;exec(base64.b64decode('aGk='))"`,
  'curl --unix-socket /run/host/toolbox.sock http://x/',
  'socat - UNIX-CONNECT:/run/host/egress.sock',
  "nc -U '/run/host/egress.sock'",
  'nc -U /run/host/./egress.sock',
  `python3 -c "import socket;s=socket.socket(1);s.connect('/run/host/egress.sock')"`,
  'cat /var/run/docker.sock',
  'curl http://169.254.169.254/latest/meta-data',
  'curl "http://metadata.google.internal/"',
  'rm -rf --no-preserve-root /',
  'dd if=/dev/zero of=/dev/sda',
  'cat x > /dev/sda1',
  'cat /proc/1/mem',
  'cat /proc/1/environ',
  'echo c > /proc/sysrq-trigger',
])('no approval lets this through: %j', (command) => {
  expect(forbiddenCommand(command)).toBeDefined();
});

test.each([
  'git commit -m "fix fork bomb :(){ :|:& };: in docs"',
  'echo "base64 -d | sh"',
  'grep -rn "169.254.169.254" src',
  "rg 'docker.sock' .",
  'base64 -d cert.b64 > cert.pem',
  'cat x | base64 -d | jq .',
  'base64 -d a.b64 | tar xz',
  'base64 -d x | python3 decode.py',
  'ls -l /run/host /run/host/skills',
  'bash /run/host/skills/x/scripts/run.sh',
  'node /run/host/mcp/files/server.js',
  'cat /proc/cpuinfo /proc/self/status /proc/15/status',
  'rm -rf build node_modules && npm ci',
  'rm -rf /workspace/*',
  'curl https://example.org/install.sh | sh',
  'git push --force',
  'f() { echo hi; }; f | cat & wait',
  'for i in 1 2; do echo $i; done',
  'dd if=/dev/zero of=x.img bs=1M count=1',
  'python3 -c "print(1)"',
  'node -e "console.log(1)"',
  'cat <<EOF > a.sh\necho hi\nEOF',
  'make test 2>&1 | tail -5',
  'mysql -e "select 1" > /dev/null',
])('ordinary work is left alone: %j', (command) => {
  expect(forbiddenCommand(command)).toBeUndefined();
});

attack('hooks', 'a command that is slow to read', 'judged in linear time', () => {
  for (const unit of [
    'base64 -d ',
    "'a' ",
    '$(',
    'x() {',
    '/run/host/',
    'eval ',
    '"$(',
    'exec(',
    'a|',
    'openssl enc ',
    'sh -c ',
    'x',
    'x.',
    ' ',
  ]) {
    const command = unit.repeat(Math.ceil(60_000 / unit.length));
    expect(cpuMs(() => forbiddenCommand(command))).toBeLessThan(500);
  }
});

attack(
  'hooks',
  'a forbidden command by another tool, as code or as input',
  'arguments of all tools are read',
  async () => {
    const hook = dangerousCommandsHook({ also: ['terraform destroy *'] });
    const verdict = async (args: unknown) =>
      (await hook.beforeTool?.(hookCall({ args }), new AbortController().signal))?.action;
    expect(await verdict({ command: 'cd x && terraform destroy -auto-approve' })).toBe('block');
    expect(await verdict({ command: 'terraform plan' })).toBe('continue');
    expect(await verdict({ code: "s.connect('/run/host/egress.sock')" })).toBe('block');
    expect(await verdict({ code: 'exec(base64.b64decode("aGk="))' })).toBe('block');
    expect(await verdict({ code: 'while True: os.fork()' })).toBe('block');
    expect(await verdict({ code: 'print("169.254.169.254")' })).toBe('continue');
    expect(await verdict({ text: 'nc -U /run/host/egress.sock' })).toBe('continue');
    expect(await verdict({ commands: ['ls', 'cat /var/run/docker.sock'] })).toBe('block');
    expect(await verdict({ command: 'bash', stdin: 'nc -U /run/host/egress.sock\n' })).toBe('block');
    expect(await verdict({ command: 'cat > notes.md', stdin: 'about /run/host/egress.sock' })).toBe('continue');
    const input = hookCall({ tool: 'job_input', args: { job: 'j1', text: 'echo aGk= | base64 -d | sh\n' } });
    expect(await hook.beforeTool?.(input, new AbortController().signal)).toMatchObject({ action: 'block' });
    expect(await verdict(null)).toBe('continue');
    expect(forbiddenCommand('sudo terraform destroy', [compileCommandGlob('terraform destroy *')])).toBeDefined();
  },
);

attack(
  'hooks',
  'a forbidden command behind more text than is read',
  'what is too long to be judged is not carried out',
  async () => {
    const hook = dangerousCommandsHook({ also: ['terraform destroy *'] });
    const plainHook = dangerousCommandsHook({ also: [] });
    const verdict = async (args: unknown, by = plainHook, tool = 'exec') =>
      (await by.beforeTool?.(hookCall({ tool, args }), new AbortController().signal))?.action;
    const padding = `# ${'x'.repeat(69_998)}\n`;
    expect(await verdict({ command: `${padding}echo aGk= | base64 -d | sh` })).toBe('block');
    expect(await verdict({ command: `${padding}ls` })).toBe('block');
    expect(await verdict({ job: 'j1', text: `${padding}ls` }, plainHook, 'job_input')).toBe('block');
    expect(await verdict({ command: 'bash -s', stdin: `${padding}ls` })).toBe('block');
    expect(await verdict({ command: 'python3 -', stdin: `${padding}ls` })).toBe('block');
    // A file written by a command, and data for a script.
    expect(await verdict({ command: `cat > a.txt <<'E'\n${'a line of text\n'.repeat(2000)}E` })).toBe('continue');
    expect(await verdict({ command: 'python3 count.py', stdin: 'a line of text\n'.repeat(60_000) })).toBe('continue');
    // The operator's patterns hold for what cannot be followed, as those of grants do.
    expect(await verdict({ command: `${'true; '.repeat(2000)}terraform destroy x` }, hook)).toBe('block');
    expect(await verdict({ command: 'terraform plan' }, hook)).toBe('continue');
  },
);

test.each(['eval $(', 'eval `', 'bash -c $(', 'eval base64 -d ', 'base64 -d x|', 'a(){ a|a& ', 'xxd -r -r '])(
  'a line of nothing but %j is judged to its end',
  (unit) => {
    for (const chars of [60_000, 100_000]) {
      const line = unit.repeat(Math.ceil(chars / unit.length));
      const why = forbiddenCommand(line);
      if (chars > 65_536) expect(why).toMatch(/too long to be judged/);
      expect(forbiddenCommand(`${line.slice(0, 60_000)}; eval $(echo x | base64 -d)`)).toBeDefined();
    }
  },
);
