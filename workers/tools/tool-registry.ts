import type { Db } from '#core/kit/database.ts';
import { deleteFileTool } from './delete-file.ts';
import { editFileTool } from './edit-file.ts';
import { execTool } from './exec.ts';
import { globTool } from './glob.ts';
import { jobInputTool } from './job-input.ts';
import { jobListTool } from './job-list.ts';
import { jobOutputTool } from './job-output.ts';
import { jobStopTool } from './job-stop.ts';
import { listFilesTool } from './list-files.ts';
import { moveFileTool } from './move-file.ts';
import { pythonTool } from './python.ts';
import { readFileTool } from './read-file.ts';
import { readPdfTool } from './read-pdf.ts';
import { searchFilesTool } from './search-files.ts';
import { terminalTool } from './terminal.ts';
import type { Tool } from './tool.ts';
import { viewImageTool } from './view-image.ts';
import { worktreeTool } from './worktree.ts';
import { worktreeMergeTool } from './worktree-merge.ts';
import { writeFileTool } from './write-file.ts';

/** The tools that work in the session's sandbox and need nothing else. */
export function sandboxTools(): readonly Tool[] {
  return [
    execTool(),
    jobOutputTool(),
    jobInputTool(),
    jobStopTool(),
    jobListTool(),
    terminalTool(),
    pythonTool(),
    readFileTool(),
    writeFileTool(),
    editFileTool(),
    moveFileTool(),
    deleteFileTool(),
    listFilesTool(),
    globTool(),
    searchFilesTool(),
    worktreeTool(),
    worktreeMergeTool(),
  ];
}

/** The tools that show models pictures of the workspace. */
export function pictureTools(deps: { readonly db: Db }): readonly Tool[] {
  return [viewImageTool(deps), readPdfTool(deps)];
}

/** Names of the tools that have hands: who lists one gets a workspace, and attached files in it. */
export const handToolNames: readonly string[] = [...sandboxTools().map((tool) => tool.name), 'view_image', 'read_pdf'];
