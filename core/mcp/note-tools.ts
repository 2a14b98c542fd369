import { appendAudit } from '../audit/append-audit.ts';
import { findPrivatePlaces } from '../broadcast/find-private-places.ts';
import type { Db, Tx } from '../kit/database.ts';
import { putOffer } from '../offers/put-offer.ts';
import { findPeopleOf } from '../people/find-reach.ts';
import { type Conversation, threadKey } from '../sessions/origin.ts';
import { isListed, isTrustedAtSight, type McpServer } from './mcp-server.ts';
import { describeFlag, diffDefinitions, type SeenTool, visibleText } from './tool-pin.ts';
import {
  lockServer,
  type McpTool,
  markAnnounced,
  markGone,
  markListed,
  mayAnnounce,
  putTool,
  selectTools,
} from './tool-store.ts';

/** How long the buttons of an announcement work; the command line can decide at any time. */
const offerMs = 7 * 24 * 3_600_000;
/** Longest text about one tool in an announcement. */
const entryCharsMax = 1_500;
const announcedMax = 25;
/** Announcements of one server in an hour. A server that changes with every look must not fill people's chats. What it lists is suspended all the same. */
const announcementsMax = 6;

/**
 * Writes down what a server's list looks like now. What is new or differs from what was approved cannot be called from
 * this commit on, and the owners and administrators are asked, with what changed.
 * @param source what the server is; see `readTool`.
 * @returns the tools as they are known now.
 */
export async function noteTools(
  db: Db,
  server: McpServer,
  source: string,
  seen: readonly SeenTool[],
): Promise<readonly McpTool[]> {
  return await db.transaction().execute(async (tx) => {
    await lockServer(tx, server.name, source);
    const known = new Map((await selectTools(tx, [server.name])).map((tool) => [tool.name, tool]));
    const listed = seen.filter((tool) => isListed(server, tool.name));
    const changes: string[] = [];
    for (const tool of listed) {
      const before = known.get(tool.name);
      const isAuto = isTrustedAtSight(server, tool.name);
      const state = stateOf(before, tool, isAuto);
      if (before?.digest === tool.digest && before.state === state) continue;
      await putTool(tx, server.name, tool, state, state === 'approved' && isAuto);
      changes.push(`${tool.name}: ${state}`);
    }
    const names = new Set(listed.map(({ name }) => name));
    const gone = [...known.values()].filter(({ name, state }) => !names.has(name) && state !== 'gone');
    if (gone.length > 0) {
      await markGone(
        tx,
        server.name,
        gone.map(({ name }) => name),
      );
      changes.push(...gone.map(({ name }) => `${name}: gone`));
    }
    await markListed(tx, server.name);
    const now = changes.length === 0 ? [...known.values()] : await selectTools(tx, [server.name]);
    await announce(tx, server.name, now);
    if (changes.length === 0) return now;
    await appendAudit(tx, [
      { kind: 'mcp.tools_seen', chainKey: `mcp:${server.name}`, body: { server: server.name, source, changes } },
    ]);
    return now;
  });
}

function stateOf(before: McpTool | undefined, tool: SeenTool, isAuto: boolean): McpTool['state'] {
  if (isAuto || before?.approvedDigest === tool.digest) return 'approved';
  if (before?.state === 'refused' && before.digest === tool.digest) return 'refused';
  return before?.approvedDigest === undefined ? 'new' : 'changed';
}

/** Asks those who may decide, once for each definition. */
async function announce(tx: Tx, server: string, tools: readonly McpTool[]): Promise<void> {
  const waiting = tools.filter(
    ({ state, digest, announcedDigest }) => (state === 'new' || state === 'changed') && announcedDigest !== digest,
  );
  if (waiting.length === 0 || !(await mayAnnounce(tx, server, announcementsMax))) return;
  await markAnnounced(
    tx,
    server,
    waiting.map(({ name }) => name),
  );
  const places = await findDeciders(tx);
  for (const state of ['changed', 'new'] as const) {
    const some = waiting.filter((tool) => tool.state === state);
    for (let from = 0; from < some.length; from += announcedMax) {
      const part = some.slice(from, from + announcedMax);
      await putOffer(tx, {
        subject: { kind: 'mcp_tools', server, tools: part.map(({ name, digest }) => ({ name, digest })) },
        markdown: announcement(server, state, part),
        places,
        validMs: offerMs,
      });
    }
  }
}

async function findDeciders(tx: Tx): Promise<readonly Conversation[]> {
  const places = new Map<string, Conversation>();
  for (const personId of await findPeopleOf(tx, ['owner', 'admin'])) {
    for (const { conversation } of await findPrivatePlaces(tx, personId)) {
      places.set(threadKey(conversation), conversation);
    }
  }
  return [...places.values()];
}

function announcement(server: string, state: 'new' | 'changed', tools: readonly McpTool[]): string {
  const count = tools.length === 1 ? 'a tool' : `${tools.length} tools`;
  const head =
    state === 'changed'
      ? `The MCP server \`${server}\` changed ${count} after approval. Nobody can use ${tools.length === 1 ? 'it' : 'them'} until you allow it again.`
      : `The MCP server \`${server}\` offers ${count} that nobody has looked at yet. Agents do not see ${tools.length === 1 ? 'it' : 'them'} until you allow it.`;
  return [
    head,
    ...tools.map((tool) => describeTool(tool)),
    `See it whole with \`./switchyard mcp tools ${server}\`.`,
  ].join('\n\n');
}

/** One tool for whoever decides: its name, what is odd about it, and its words or what changed in them. */
function describeTool(tool: McpTool): string {
  const odd = tool.flags.map((flag) => `⚠️ It ${describeFlag(flag)}.`);
  const lines = diffDefinitions(tool.approvedDefinition, tool.definition);
  const body =
    lines.length === 0
      ? 'Its description is the same; the server itself (its address or its code) is not.'
      : fenced(lines);
  const text = [`**${visibleText(tool.name).replaceAll(/[`*_]/g, '')}**`, ...odd, body].join('\n');
  return text.length <= entryCharsMax ? text : `${text.slice(0, entryCharsMax)}…\n\`\`\``;
}

/** As a block: nothing a server writes may look like words of ours. */
function fenced(lines: readonly string[]): string {
  return ['```', ...lines.map((line) => line.replaceAll('`', 'ˋ')), '```'].join('\n');
}
