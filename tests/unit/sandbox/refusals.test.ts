import { describe, expect, test } from 'vitest';
import { refusedCommand, refusedFile, refusedJob } from '#workers/sandbox/refusals.ts';
import { ToolboxRefusal } from '#workers/sandbox/toolbox-connection.ts';

const invalid = 'tool.invalid_arguments';
const of = (errno: string) => new ToolboxRefusal(errno);

describe('what the toolbox refused is told as what it is', () => {
  test.each([
    ['ENOENT', invalid, 'There is no a.txt in the workspace.'],
    ['EROFS', invalid, 'a.txt is read-only.'],
    ['EACCES', invalid, 'a.txt may not be accessed.'],
    ['ELOOP', invalid, 'a.txt is outside the workspace or a link that leads out of it.'],
    ['EEXIST', invalid, 'a.txt exists already.'],
    ['ENOTEMPTY', invalid, 'a.txt is a directory that is not empty.'],
    ['ESTALE', invalid, 'a.txt was changed meanwhile. Read it again.'],
    ['ENXIO', invalid, 'a.txt is not a plain file.'],
    ['ENOSPC', 'sandbox.disk_full', 'There is no room to write a.txt.'],
    ['EDQUOT', 'sandbox.disk_full', 'There is no room to write a.txt.'],
    ['EFBIG', 'sandbox.disk_full', 'There is no room to write a.txt.'],
    ['EWHATEVER', 'sandbox.protocol', 'The sandbox could not access a.txt (EWHATEVER).'],
  ])('of a file: %s', (errno, code, message) => {
    expect(refusedFile(of(errno), 'a.txt')).toMatchObject({ code, message, cause: of(errno) });
  });

  test('of a command, a program and a job', () => {
    expect(refusedCommand(of('ENOENT'), 'sub')).toMatchObject({ code: invalid });
    expect(refusedCommand(of('E2BIG'))).toMatchObject({ code: invalid });
    expect(refusedCommand(of('EUSERS'))).toMatchObject({ message: expect.stringContaining('Eight jobs') });
    expect(refusedCommand(of('EIO'))).toMatchObject({ code: 'sandbox.protocol' });
    expect(refusedJob(of('ESRCH'), 'j4')).toMatchObject({ code: invalid, message: expect.stringContaining('j4') });
    expect(refusedJob(of('EPIPE'), 'j4')).toMatchObject({ code: invalid });
  });

  test('what is no refusal stays what it is', () => {
    const other = new Error('other');
    for (const told of [refusedFile(other, 'a'), refusedCommand(other), refusedJob(other, 'j1')])
      expect(told).toBe(other);
  });

  test('a full disk says what to do', () => {
    expect(refusedFile(of('ENOSPC'), 'a')).toMatchObject({ mend: expect.stringContaining('sandbox.disk_mb') });
  });
});
