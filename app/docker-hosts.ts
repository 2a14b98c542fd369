import { type DockerHostSetting, onlyHostName } from '#workers/sandbox/docker-host.ts';

const addressPattern = /^(unix:\/\/\/|tcp:\/\/|https?:\/\/)[^\s,?]+(\?files=(shared|apart))?$/;
const namePattern = /^[a-z0-9][a-z0-9._-]{0,63}$/i;

/** Whether a text is a list of engines with names of their own. */
export function isDockerHosts(text: string): boolean {
  const items = parse(text);
  const names = items.map((item) => item.name);
  return (
    items.length > 0 &&
    items.every(({ name, address }) => namePattern.test(name) && addressPattern.test(address)) &&
    new Set(names).size === names.length
  );
}

/**
 * The engines of `DOCKER_HOSTS`, or the one of `DOCKER_HOST`. A socket of this machine shares its files; an engine that
 * is reached over the network does not, unless its address ends with `?files=shared`.
 */
export function readDockerHosts(
  host: string | undefined,
  hosts: string | undefined,
  certPath: string | undefined,
): readonly DockerHostSetting[] {
  const certificates = certPath === undefined ? {} : { certPath };
  if (hosts === undefined || !isDockerHosts(hosts)) {
    return [{ name: onlyHostName, sharesFiles: true, ...(host === undefined ? {} : { url: host }), ...certificates }];
  }
  return parse(hosts).map(({ name, address }) => {
    const [url = '', option] = address.split('?files=');
    const sharesFiles = option === undefined ? url.startsWith('unix:') : option === 'shared';
    return { name, url, sharesFiles, ...certificates };
  });
}

function parse(text: string): readonly { readonly name: string; readonly address: string }[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
    .map((item) => {
      const [, name, named] = /^([^=:/]+)=(.+)$/.exec(item) ?? [];
      const address = named ?? item;
      return { name: name ?? nameOf(address), address };
    });
}

/** An engine without a name is called after its machine. */
function nameOf(address: string): string {
  const url = URL.parse(address);
  return url === null || url.hostname === '' ? onlyHostName : url.hostname;
}
