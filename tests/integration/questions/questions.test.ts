import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { cancelSessionWork } from '#core/approvals/cancel-session-work.ts';
import { createPress } from '#core/commands/press.ts';
import { questionPress } from '#core/commands/question-presses.ts';
import { createTakeAnswer, createTakeForm } from '#core/commands/take-words.ts';
import { newId } from '#core/kit/ids.ts';
import { type AskedQuestion, askQuestion, type QuestionRequest } from '#core/questions/ask-question.ts';
import { cancelOpenQuestions } from '#core/questions/cancel-questions.ts';
import { expireQuestions } from '#core/questions/expire-questions.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { seedPerson, seedSession, seedTurn } from '#tests/support/asking-turn.ts';
import { ChatStage, type Said } from '#tests/support/chat-stage.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';

let database: TestDatabase;
let stage: ChatStage;
const dm: Conversation = { channel: 'telegram', account: 'bot', room: '7', kind: 'dm' };
const group: Conversation = { channel: 'telegram', account: 'bot', room: '-42', kind: 'group' };
const annaDm: Conversation = { channel: 'slack', account: 'T1', room: 'DANNA', kind: 'dm' };
let requester: string;
let anna: string;
let other: string;
let admin: string;

beforeAll(async () => {
  database = await openTestDatabase(10);
  requester = await seedPerson(database, { name: 'Rita', role: 'member', dm });
  anna = await seedPerson(database, { name: 'Anna', role: 'member', dm: annaDm, externalId: 'UANNA' });
  other = await seedPerson(database, { name: 'Otto', role: 'member' });
  admin = await seedPerson(database, { name: 'Ada', role: 'admin' });
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await database.query("update question set state = 'cancelled', closed_at = now() where state = 'pending'");
  await database.query('delete from outbox');
  stage = new ChatStage(database);
});

interface Asked extends AskedQuestion {
  readonly request: QuestionRequest;
}

async function ask(overrides: Partial<QuestionRequest> = {}): Promise<Asked> {
  const conversation = overrides.conversation ?? dm;
  const sessionId = await seedSession(database, conversation);
  const turnId = newId();
  await seedTurn(database, { sessionId, turnId, waitingFor: 'person', origin: conversation });
  const request: QuestionRequest = {
    sessionId,
    turnId,
    callId: '1:call',
    agentName: 'coder',
    text: 'Which colour?',
    choices: [],
    requesterId: requester,
    askedId: undefined,
    conversation,
    validMs: 600_000,
    ...overrides,
  };
  return { ...(await again(request)), request };
}

async function again(request: QuestionRequest): Promise<AskedQuestion> {
  return await database.db.transaction().execute(async (tx) => await askQuestion(tx, request));
}

async function press(place: Conversation, personId: string, token: string | undefined): Promise<string> {
  const handle = createPress([questionPress(stage.deps)]);
  await handle(await stage.event(place, personId, { type: 'action', token: token ?? '' }), token ?? '');
  return stage.acknowledged.at(-1)?.text ?? '';
}

async function says(place: Conversation, personId: string, text: string, replyToId?: string): Promise<boolean> {
  const deed = { type: 'message' as const, text, ...(replyToId === undefined ? {} : { replyToId }) };
  return await createTakeAnswer(stage.deps)(await stage.event(place, personId, deed));
}

async function card(place: Conversation): Promise<Said> {
  const found = (await stage.said(place)).find((said) => said.key.startsWith('question:'));
  if (found === undefined) throw new Error('there is no card');
  return found;
}

async function stateOf({ question }: Asked): Promise<{ state: string; answer: string | null; turn: string }> {
  const [row] = await database.query<{ state: string; answer: string | null; turn: string }>(
    'select q.state, q.answer, t.state as turn from question q join turn t on t.id = q.turn_id where q.id = $1',
    [question.id],
  );
  return row ?? { state: 'gone', answer: null, turn: 'gone' };
}

test('a choice is answered by its button: the turn goes on and the card says who said what', async () => {
  const asked = await ask({ choices: ['red', 'green'] });
  const { buttons } = await card(dm);
  expect([...buttons.keys()]).toEqual(['red', 'green', 'Something else']);
  expect(await press(dm, requester, buttons.get('green'))).toBe('Thank you, I pass it on.');
  expect(await stateOf(asked)).toEqual({ state: 'answered', answer: 'green', turn: 'queued' });
  expect(stage.rung).toMatchObject([{ sessionId: asked.question.sessionId }]);
  const closed = await card(dm);
  expect(closed.text).toMatch(/\*\*Answered\*\* by Rita at .*: green/);
  expect(closed.buttons.size).toBe(0);
  expect(await press(dm, requester, buttons.get('red'))).toMatch(/^This was already answered by Rita at/);
});

test('words come by a form where there is one', async () => {
  stage.hasForms = true;
  const asked = await ask({ choices: ['red'] });
  await press(dm, requester, (await card(dm)).buttons.get('Something else'));
  const token = stage.forms[0]?.token ?? '';
  expect(stage.forms[0]?.fields[0]?.isRequired).toBe(true);
  const event = await stage.event(dm, requester, { type: 'form', token, values: { words: ' a warm blue ' } });
  await createTakeForm(stage.deps)(event);
  expect(await stateOf(asked)).toMatchObject({ state: 'answered', answer: 'a warm blue' });
});

test('in private the next message is the answer; in a group only a reply to the question is', async () => {
  const asked = await ask();
  expect((await card(dm)).body.asksReply).toBe(true);
  expect(await says(dm, requester, 'blue')).toBe(true);
  expect(await stateOf(asked)).toMatchObject({ answer: 'blue' });
  expect(await says(dm, requester, 'and another thing')).toBe(false);

  const inGroup = await ask({ conversation: group });
  await stage.deliver();
  expect(await says(group, requester, 'by the way')).toBe(false);
  expect(await says(group, requester, 'yellow', (await card(group)).key)).toBe(true);
  expect(await stateOf(inGroup)).toMatchObject({ answer: 'yellow' });
});

test('in the thread of the question the next message of whoever is asked is the answer', async () => {
  const thread: Conversation = { channel: 'slack', account: 'T1', room: 'C1', thread: '17.1', kind: 'channel' };
  const asked = await ask({ conversation: thread });
  expect(await says(thread, other, 'me too')).toBe(false);
  expect(await says(thread, requester, 'violet')).toBe(true);
  expect(await stateOf(asked)).toMatchObject({ answer: 'violet' });
});

test('a thread opened below the question is a reply to it', async () => {
  const asked = await ask({ conversation: annaDm, requesterId: anna });
  await stage.deliver();
  const below: Conversation = { ...annaDm, thread: (await card(annaDm)).key };
  expect(await says(below, anna, 'orange')).toBe(true);
  expect(await stateOf(asked)).toMatchObject({ answer: 'orange' });
  expect((await stage.last(below)).text).toBe('Thank you, I pass it on.');
});

test('where every private message opens a thread, it still answers what this person is asked', async () => {
  const earlier: Conversation = { ...annaDm, thread: '17.1' };
  await database.query("update identity set dm_conversation = $1 where external_id = 'UANNA'", [
    JSON.stringify(earlier),
  ]);
  const asked = await ask({ askedId: anna });
  const event = await stage.event({ ...annaDm, thread: '18.2' }, anna, { type: 'message', text: 'grey' });
  const root = { ...event, event: { ...event.event, messageId: '18.2' } };
  expect(await createTakeAnswer(stage.deps)(root)).toBe(true);
  expect(await stateOf(asked)).toMatchObject({ answer: 'grey' });
  // A question about their own work is answered in its thread: a new one is new work.
  await ask({ conversation: earlier, requesterId: anna });
  expect(await createTakeAnswer(stage.deps)(root)).toBe(false);
  await database.query("update identity set dm_conversation = $1 where external_id = 'UANNA'", [
    JSON.stringify(annaDm),
  ]);
});

test('a reply to something else is no answer, although a question is open', async () => {
  const before = await ask();
  await says(dm, requester, 'blue');
  await stage.deliver();
  const asked = await ask();
  expect(await says(dm, requester, 'I meant another blue', `question:${before.question.id}`)).toBe(false);
  expect(await stateOf(asked)).toMatchObject({ state: 'pending' });
});

test('only whoever is asked may answer; for the requester an admin may, and every refusal is on the audit', async () => {
  const asked = await ask({ conversation: group, choices: ['yes'] });
  const { buttons } = await card(group);
  expect(await press(group, other, buttons.get('yes'))).toBe(
    'You cannot answer this: it is a question to whoever asked for this work.',
  );
  expect(await press(group, other, buttons.get('Something else'))).toMatch(/^You cannot answer this/);
  expect(await stage.audit('question.refused')).toContainEqual(expect.objectContaining({ personId: other }));
  expect((await card(group)).buttons.size).toBe(2);
  await press(group, admin, buttons.get('yes'));
  expect(await stateOf(asked)).toMatchObject({ state: 'answered', answer: 'yes' });

  const toAnna = await ask({ askedId: anna, choices: ['yes'] });
  expect(await press(annaDm, admin, (await card(annaDm)).buttons.get('yes'))).toBe(
    'You cannot answer this: it is a question to Anna.',
  );
  expect(await stateOf(toAnna)).toMatchObject({ state: 'pending' });
});

test('somebody else is asked where they can be reached, and the thread of the work reads how it ends', async () => {
  const asked = await ask({ askedId: anna });
  expect((await stage.last(dm)).text).toMatch(/I asked \*\*Anna\*\*: Which colour\?/);
  expect((await stage.last(dm)).buttons.size).toBe(0);
  // The requester's own messages in their thread are no answer to what Anna is asked.
  expect(await says(dm, requester, 'any news?')).toBe(false);
  expect(await says(annaDm, anna, 'purple')).toBe(true);
  expect(await stateOf(asked)).toMatchObject({ answer: 'purple' });
  const note = (await stage.said(dm)).find((said) => said.key.startsWith('question:'));
  expect(note?.text).toMatch(/\*\*Answered\*\* by Anna at .*: purple/);
});

test('who cannot be reached in private is asked in the room, pinged there, and in private work gives an error', async () => {
  await database.query(
    `insert into identity (id, person_id, channel, account, external_id, display_name) values ($1, $2, 'telegram', 'bot', '5150', 'Otto')`,
    [newId(), other],
  );
  await ask({ conversation: group, askedId: other });
  expect((await card(group)).body.mentions).toEqual(['5150']);
  await expect(ask({ askedId: other })).rejects.toMatchObject({ code: 'person.unreachable' });
});

test('a button works only where it was shown', async () => {
  const asked = await ask({ choices: ['yes'] });
  expect(await press(group, requester, (await card(dm)).buttons.get('yes'))).toBe(
    'This button belongs to another chat.',
  );
  expect(await stateOf(asked)).toMatchObject({ state: 'pending' });
  expect(await stage.audit('question.stray_press')).toHaveLength(1);
});

test('a call that is taken up again after a crash asks once and finds its answer', async () => {
  const { request, question } = await ask();
  expect(await again(request)).toMatchObject({ question: { id: question.id, state: 'pending' }, audit: undefined });
  expect(await stage.said(dm)).toHaveLength(1);
  await says(dm, requester, 'blue');
  expect((await again(request)).question).toMatchObject({ state: 'answered', answer: 'blue', answeredByName: 'Rita' });
});

test('of many answers at once one counts', async () => {
  const asked = await ask({ choices: ['a', 'b', 'c'] });
  const { buttons } = await card(dm);
  await Promise.all(['a', 'b', 'c'].map(async (label) => await press(dm, requester, buttons.get(label))));
  const texts = stage.acknowledged.map(({ text }) => text);
  expect(texts.filter((text) => text === 'Thank you, I pass it on.')).toHaveLength(1);
  expect(texts.filter((text) => text.startsWith('This was already answered by Rita'))).toHaveLength(2);
  expect((await stateOf(asked)).state).toBe('answered');
});

test('nobody answered: the question expires once, its turn goes on, and a late answer is told so', async () => {
  const asked = await ask({ choices: ['yes'] });
  const { buttons } = await card(dm);
  await database.query(
    "update question set created_at = now() - interval '2 h', expires_at = now() - interval '1 h' where id = $1",
    [asked.question.id],
  );
  expect(await press(dm, requester, buttons.get('yes'))).toBe('This question has expired; nobody answered in time.');
  const never = new AbortController().signal;
  const wakes = await Promise.all([1, 2].map(async () => await expireQuestions({ db: database.db }, never)));
  expect(wakes.flat()).toHaveLength(1);
  expect(await stateOf(asked)).toMatchObject({ state: 'expired', turn: 'queued' });
  expect((await card(dm)).text).toContain('**Expired**');
});

test('stopping the work cancels its questions, and so does another end of their turn', async () => {
  const asked = await ask({ choices: ['yes'] });
  const { buttons } = await card(dm);
  await database.db.transaction().execute(async (tx) => await cancelSessionWork(tx, asked.question.sessionId));
  expect(await stateOf(asked)).toMatchObject({ state: 'cancelled', turn: 'cancelled' });
  expect(await press(dm, requester, buttons.get('yes'))).toMatch(/^This question was cancelled/);

  const orphan = await ask();
  await database.query("update turn set state = 'failed', waiting_for = null, finished_at = now() where id = $1", [
    orphan.question.turnId,
  ]);
  await cancelOpenQuestions({ db: database.db });
  expect(await stateOf(orphan)).toMatchObject({ state: 'cancelled' });
});
