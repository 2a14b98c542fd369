import { z } from 'zod';
import { appendAudit } from '#core/audit/append-audit.ts';
import { findPerson } from '#core/broadcast/find-person.ts';
import type { Db, Tx } from '#core/kit/database.ts';
import { AppError } from '#core/kit/errors.ts';
import { askQuestion } from '#core/questions/ask-question.ts';
import { choiceCharsMax, choicesMax, type Question } from '#core/questions/question.ts';
import type { ParkContext, Parked, Tool } from './tool.ts';

const minuteMs = 60_000;

const parameters = z.strictObject({
  question: z.string().trim().min(1).max(2000).describe('One question, complete in itself.'),
  choices: z
    .array(z.string().trim().min(1).max(choiceCharsMax))
    .max(choicesMax)
    .optional()
    .describe('Likely answers, shown as buttons. The person may still write something else.'),
  to: z
    .string()
    .trim()
    .min(1)
    .max(120)
    .optional()
    .describe('Who is asked: a name, @name or person:<id>. Left out: whoever asked for this work.'),
  wait_minutes: z.int().min(1).max(10_080).optional().describe('How long to wait for the answer; 60 when left out.'),
});

type Arguments = z.infer<typeof parameters>;

const waitMinutes = 60;

/** Asks a person something and waits for the answer, wherever they are; the turn holds no worker meanwhile. */
export function askPersonTool(deps: { readonly db: Db }): Tool<Arguments> {
  return {
    name: 'ask_person',
    description:
      'Ask a person one question and wait for the answer, which is the result. Use it when a wrong guess would cost more than their time. Ask once and completely; offer choices where there are any.',
    parameters,
    isParallelSafe: false,
    isIdempotent: true,
    claim: ({ question, to }) => ({
      action: 'person.ask',
      resource: to ?? 'requester',
      risk: 'low',
      summary: `Ask ${to ?? 'you'}: ${question.slice(0, 200)}`,
    }),
    run: async () => await Promise.reject(new AppError('invariant.broken', 'A question was run instead of parked.')),
    park: async (args, context) =>
      await deps.db.transaction().execute(async (tx) => {
        const askedId = await findAsked(tx, args, context);
        const { question, audit } = await askQuestion(tx, {
          sessionId: context.sessionId,
          turnId: context.turnId,
          callId: context.callKey,
          agentName: context.agent.name,
          text: args.question,
          choices: [...new Set(args.choices ?? [])],
          requesterId: context.origin.personId,
          askedId,
          conversation: context.origin,
          validMs: (args.wait_minutes ?? waitMinutes) * minuteMs,
        });
        if (audit !== undefined) await appendAudit(tx, [audit]);
        return stateOf(question);
      }),
  };
}

async function findAsked(tx: Tx, { to }: Arguments, { origin }: ParkContext): Promise<string | undefined> {
  if (to === undefined || to.toLowerCase() === 'requester') return undefined;
  const person = await findPerson(tx, to);
  return person.id === origin.personId ? undefined : person.id;
}

function stateOf(question: Question): Parked {
  const done = (text: string, isError: boolean): Parked => ({ state: 'done', result: { text, isError } });
  switch (question.state) {
    case 'pending':
      return { state: 'waiting', questionId: question.id, text: question.text };
    case 'answered':
      return done(`${question.answeredByName ?? 'They'} answered: ${question.answer ?? ''}`, false);
    case 'expired':
      return done(
        'Nobody answered in time. Go on without the answer if you can, and say what you assumed; otherwise say what you need.',
        true,
      );
    case 'cancelled':
      return done('The question was cancelled, so there is no answer.', true);
  }
}
