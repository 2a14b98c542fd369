import { checkFolder } from '#bots/file/check-folder.ts';
import type { Finding } from '#cli/finding.ts';

/** Looks whether the folder of the file channel can be trusted. */
export async function checkFileChannel(folder: string | undefined): Promise<Finding> {
  const name = 'Files';
  if (folder === undefined)
    return { name, status: 'ok', detail: 'no file channel (SWITCHYARD_FILE_CHANNEL is not set)' };
  const problem = await checkFolder(folder);
  if (problem === undefined) return { name, status: 'ok', detail: `file channel in ${folder}` };
  const cut = problem.lastIndexOf(': ');
  return { name, status: 'broken', detail: problem.slice(0, cut), mend: `${problem.slice(cut + 2)}` };
}
