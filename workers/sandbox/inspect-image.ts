import type Docker from 'dockerode';
import { AppError } from '#core/kit/errors.ts';
import { engineStatus, imageMissing, imageNamed, removeContainer, toEngineError } from './docker-engine.ts';
import { requireSandboxImage } from './sandbox-image-label.ts';
import { seccompProfile } from './seccomp-profile.ts';

/** What is wrong with an image, and what is only unusual. */
export interface ImageFinding {
  readonly id: string;
  readonly bytes: number;
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

const outputBytesMax = 16 << 20;
const runMs = 60_000;
const listedMax = 10;
const billPath = '/usr/share/switchyard/sbom.json';

/** Printed as `key value`, one a line; keys that come twice are lists. */
const look = `
for program in bash sleep git rg python3 node; do command -v "$program" >/dev/null || echo "without $program"; done
[ -x /usr/local/bin/toolbox ] && echo "toolbox yes"
[ "$(id -u agent 2>/dev/null):$(id -g agent 2>/dev/null)" = 10001:10001 ] && echo "agent yes"
[ "$(id -u init 2>/dev/null):$(id -g init 2>/dev/null)" = 10002:10002 ] && echo "init yes"
[ "$(stat -c %u:%g /workspace 2>/dev/null)" = 10001:10001 ] && echo "workspace yes"
[ -s ${billPath} ] && echo "bill yes"
find / -xdev -type f -perm /6000 2>/dev/null | head -n 50 | sed 's/^/raises /'
find / -xdev -type d -perm -0002 ! -path /tmp ! -path /dev/shm ! -path /dev/mqueue 2>/dev/null | head -n 50 | sed 's/^/open /'
command -v getcap >/dev/null && getcap -r /usr /bin /sbin /opt 2>/dev/null | head -n 50 | sed 's/^/capable /'
echo "end yes"
`;

/**
 * Looks into an image as a sandbox would use it: in a container without network, privilege and writable files.
 * @throws AppError `image.missing`, `image.invalid` when the look itself cannot be had, `sandbox.unavailable`.
 */
export async function inspectImage(engine: Docker, image: string): Promise<ImageFinding> {
  const { Id: id, Size: bytes, Config: config } = await find(engine, image);
  const problems: string[] = [];
  const warnings: string[] = [];
  try {
    requireSandboxImage(image, config.Labels);
  } catch (err) {
    if (!(err instanceof AppError)) throw err;
    problems.push(err.message);
  }
  const seen = linesOf(await runInside(engine, id, ['/bin/sh', '-c', look]));
  if (seen.get('end') === undefined) problems.push('It has no shell at /bin/sh that could be asked.');
  else {
    if (!seen.has('toolbox')) problems.push('/usr/local/bin/toolbox is missing.');
    if (!seen.has('agent')) problems.push('The user agent with uid and gid 10001 is missing.');
    if (!seen.has('init')) problems.push('The user init with uid and gid 10002 is missing.');
    for (const program of seen.get('without') ?? []) {
      (['bash', 'sleep'].includes(program) ? problems : warnings).push(`${program} is missing.`);
    }
    if (!seen.has('workspace')) warnings.push('/workspace does not belong to the agent (10001:10001).');
    if (!seen.has('bill')) warnings.push(`There is no bill of materials at ${billPath}.`);
    list(problems, 'Files that raise privileges', [...(seen.get('raises') ?? []), ...(seen.get('capable') ?? [])]);
    list(warnings, 'Folders anybody may write', seen.get('open') ?? []);
  }
  return { id, bytes, problems, warnings };
}

/**
 * The bill of materials an image carries (CycloneDX, JSON), as its text.
 * @throws AppError `image.missing`, `image.invalid` when it has none.
 */
export async function readBill(engine: Docker, image: string): Promise<string> {
  const { Id: id } = await find(engine, image);
  const text = await runInside(engine, id, ['/bin/cat', billPath]);
  if (!text.startsWith('{')) {
    throw new AppError('image.invalid', `The image ${image} has no bill of materials.`, {
      mend: 'End its Dockerfile with RUN /usr/local/lib/switchyard/finish, as root.',
    });
  }
  return text;
}

async function find(engine: Docker, image: string): Promise<Docker.ImageInspectInfo> {
  try {
    return await imageNamed(engine, image).inspect();
  } catch (err) {
    throw engineStatus(err) === 404 ? imageMissing(image, err) : toEngineError(err);
  }
}

/** Everything a program of the image prints, up to a bound; the image may be anybody's. */
async function runInside(engine: Docker, imageId: string, argv: readonly string[]): Promise<string> {
  try {
    const container = await engine.createContainer({
      Image: imageId,
      Entrypoint: [],
      Cmd: [...argv],
      // Every file of the image is to be seen; without capabilities root may do no more than that.
      User: '0:0',
      Tty: true,
      AttachStdout: true,
      HostConfig: {
        NetworkMode: 'none',
        ReadonlyRootfs: true,
        CapDrop: ['ALL'],
        CapAdd: ['DAC_READ_SEARCH'],
        SecurityOpt: ['no-new-privileges:true', `seccomp=${JSON.stringify(seccompProfile)}`],
        PidsLimit: 64,
        Memory: 256 << 20,
        MemorySwap: 256 << 20,
        Tmpfs: { '/tmp': 'rw,nosuid,nodev,size=8m' },
        LogConfig: { Type: 'none', Config: {} },
      },
    });
    try {
      const stream = await container.attach({ stream: true, stdout: true });
      const text = collect(stream, runMs);
      await container.start();
      return await text;
    } finally {
      await removeContainer(engine, container.id);
    }
  } catch (err) {
    if (err instanceof AppError) throw err;
    if (engineStatus(err) === 400) {
      throw new AppError(
        'image.invalid',
        `The image cannot be run: ${err instanceof Error ? err.message : ''}`.slice(0, 300),
        {
          mend: 'Make it FROM switchyard-sandbox; docs/guide/sandbox-images.md shows how.',
          cause: err,
        },
      );
    }
    throw toEngineError(err);
  }
}

async function collect(stream: NodeJS.ReadableStream, timeoutMs: number): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  return await new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      // The terminal writes line breaks its own way.
      resolve(Buffer.concat(parts).toString('utf8').replaceAll('\r\n', '\n'));
    };
    const timer = setTimeout(end, timeoutMs);
    stream.on('data', (part: Buffer) => {
      bytes += part.length;
      if (bytes <= outputBytesMax) parts.push(part);
      else end();
    });
    stream.on('end', end);
    stream.on('error', reject);
  });
}

function linesOf(text: string): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const line of text.split('\n').slice(0, 1_000)) {
    const [, key, value] = /^([a-z]+) (.{1,300})$/.exec(line) ?? [];
    if (key === undefined || value === undefined) continue;
    const list = found.get(key) ?? [];
    list.push(value);
    found.set(key, list);
  }
  return found;
}

function list(into: string[], what: string, found: readonly string[]): void {
  if (found.length === 0) return;
  const more = found.length > listedMax ? ` and ${found.length - listedMax} more` : '';
  into.push(`${what}: ${found.slice(0, listedMax).join(', ')}${more}.`);
}
