import { AppError } from '#core/kit/errors.ts';

/**
 * What git is run with besides its own defaults. The repository is anybody's: its configuration, hooks and attributes
 * must neither run a program nor change what a person is shown. Values of the environment win over every file.
 */
const fixedSettings: readonly (readonly [key: string, value: string])[] = [
  ['core.hooksPath', '/dev/null'],
  ['core.fsmonitor', 'false'],
  ['core.attributesFile', '/dev/null'],
  // Otherwise a list elsewhere could hide changes that were not committed.
  ['core.excludesFile', '/dev/null'],
  ['core.commitGraph', 'false'],
  ['core.quotePath', 'false'],
  ['core.pager', 'cat'],
  ['core.editor', 'true'],
  ['core.sshCommand', 'false'],
  ['core.askPass', 'false'],
  ['credential.helper', ''],
  ['protocol.allow', 'never'],
  ['commit.gpgSign', 'false'],
  ['tag.gpgSign', 'false'],
  ['gpg.program', 'false'],
  ['log.showSignature', 'false'],
  ['merge.verifySignatures', 'false'],
  ['merge.conflictStyle', 'diff3'],
  ['pull.twohead', 'ort'],
  ['rerere.enabled', 'false'],
  ['advice.graftFileDeprecated', 'false'],
  ['gc.auto', '0'],
  ['maintenance.auto', 'false'],
  ['submodule.recurse', 'false'],
  ['diff.ignoreSubmodules', 'dirty'],
  ['i18n.commitEncoding', 'UTF-8'],
  ['i18n.logOutputEncoding', 'UTF-8'],
  // The workspace may be owned by another number than the agent's on engines that map users.
  ['safe.directory', '*'],
];

const variables: Readonly<Record<string, string>> = {
  PATH: '/usr/local/bin:/usr/bin:/bin',
  HOME: '/nonexistent',
  LC_ALL: 'C.UTF-8',
  TERM: 'dumb',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_ATTR_NOSYSTEM: '1',
  // Objects as they are: a replacement or a graft could show a person another history than the one that is merged.
  GIT_NO_REPLACE_OBJECTS: '1',
  GIT_GRAFT_FILE: '/dev/null',
  GIT_ALLOW_PROTOCOL: 'none',
  GIT_NO_LAZY_FETCH: '1',
  GIT_OPTIONAL_LOCKS: '0',
  GIT_LITERAL_PATHSPECS: '1',
  GIT_TERMINAL_PROMPT: '0',
  GIT_PAGER: 'cat',
  GIT_EDITOR: 'true',
  GIT_SEQUENCE_EDITOR: 'true',
  GIT_ASKPASS: 'false',
  SSH_ASKPASS: 'false',
  GIT_SSH_COMMAND: 'false',
};

/** Programs that a configuration can name; what stands in their place does what git does by itself. */
const programs: readonly { readonly key: RegExp; readonly settings: (name: string) => [string, string][] }[] = [
  {
    key: /^filter\.(.+)\.(?:clean|smudge|process|required)$/s,
    settings: (name) => [
      [`filter.${name}.clean`, ''],
      [`filter.${name}.smudge`, ''],
      [`filter.${name}.process`, ''],
      [`filter.${name}.required`, 'false'],
    ],
  },
  {
    // An empty driver would take one side silently; this one merges text as git does without a driver.
    key: /^merge\.(.+)\.driver$/s,
    settings: (name) => [[`merge.${name}.driver`, 'git merge-file -L HEAD -L base -L other --marker-size=%L %A %O %B']],
  },
  { key: /^diff\.(.+)\.textconv$/s, settings: (name) => [[`diff.${name}.textconv`, 'cat']] },
  { key: /^hook\.(.+)\.command$/s, settings: (name) => [[`hook.${name}.command`, 'true']] },
  { key: /^branch\.(.+)\.mergeoptions$/s, settings: (name) => [[`branch.${name}.mergeOptions`, '']] },
  { key: /^submodule\.(.+)\.update$/s, settings: (name) => [[`submodule.${name}.update`, 'none']] },
];

/** Names a hostile configuration may hold; each costs a few hundred bytes of environment at most. */
const programsMax = 100;

/**
 * The environment of git in one repository, as words of `env -i`.
 * @param keys the names of everything its configuration sets, as `git config --list --name-only` says them.
 * @throws AppError `tool.invalid_arguments` for a configuration that cannot be made harmless by name.
 */
export function gitEnvironment(keys: readonly string[], author: string): readonly string[] {
  const included = keys.find((key) => /^include(?:if)?\./.test(key));
  if (included !== undefined) throw refused('includes other files', 'Take its include settings out');
  if (keys.includes('core.worktree')) {
    throw refused('says that its files lie elsewhere (core.worktree)', 'Use the repository it belongs to');
  }
  const overridden = new Map<string, string>(fixedSettings);
  for (const { key, settings } of programs) {
    for (const name of new Set(keys.flatMap((each) => key.exec(each)?.[1] ?? []))) {
      for (const [setting, value] of settings(name)) overridden.set(setting, value);
    }
  }
  if (overridden.size - fixedSettings.length > programsMax) throw refused('names too many programs', 'Take them out');
  const person = { NAME: author, EMAIL: `${author}@switchyard.invalid` };
  const all: Record<string, string> = {
    ...variables,
    GIT_AUTHOR_NAME: person.NAME,
    GIT_AUTHOR_EMAIL: person.EMAIL,
    GIT_COMMITTER_NAME: person.NAME,
    GIT_COMMITTER_EMAIL: person.EMAIL,
    GIT_CONFIG_COUNT: String(overridden.size),
  };
  [...overridden].forEach(([key, value], index) => {
    all[`GIT_CONFIG_KEY_${index}`] = key;
    all[`GIT_CONFIG_VALUE_${index}`] = value;
  });
  return Object.entries(all).map(([name, value]) => `${name}=${value}`);
}

function refused(what: string, mend: string): AppError {
  return new AppError('tool.invalid_arguments', `The configuration of this repository ${what}, so it is not used.`, {
    mend: `${mend}, or work without the worktree tools.`,
  });
}
