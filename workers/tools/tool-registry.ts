import { execTool } from './exec.ts';
import { listFilesTool } from './list-files.ts';
import { readFileTool } from './read-file.ts';
import { searchFilesTool } from './search-files.ts';
import type { Tool } from './tool.ts';
import { writeFileTool } from './write-file.ts';

/** The tools that work in the session's sandbox. */
export function sandboxTools(): readonly Tool[] {
  return [execTool(), readFileTool(), writeFileTool(), listFilesTool(), searchFilesTool()];
}
