import {
  invalidBody,
  invalidWebhookToken,
  RestError,
  unknownInteraction,
  unknownMessage,
  unknownWebhook,
} from './rest-error.ts';
import {
  announce,
  changeMessage,
  contentOf,
  nothing,
  type RestCall,
  type RestDeps,
  removeMessage,
} from './rest-routes.ts';
import { checkMessage, checkModal } from './validate.ts';
import { messageObject } from './wire.ts';
import { type FakeInteraction, type FakeMessage, flagBits, preciseNow } from './world.ts';

export interface InteractionTimes {
  /** How long the first answer may take. */
  readonly answerMs: number;
  /** How long the token is good. */
  readonly tokenMs: number;
}

/** `POST /interactions/{id}/{token}/callback`: the first answer. */
export function answerInteraction(deps: RestDeps, times: InteractionTimes, call: RestCall): unknown {
  const { world } = deps;
  const interaction = world.interactions.get(call.params[0] ?? '');
  const now = preciseNow();
  if (interaction === undefined || interaction.token !== call.params[1]) throw unknownInteraction();
  if (interaction.state === 'answered') {
    throw new RestError(400, 40_060, 'Interaction has already been acknowledged.');
  }
  if (now - interaction.at > times.answerMs) throw unknownInteraction();
  const type = Number(call.body['type']);
  const data: Record<string, unknown> = isRecord(call.body['data']) ? { ...call.body['data'] } : {};
  const message = firstAnswer(deps, interaction, type, data, call);
  interaction.state = 'answered';
  interaction.answer = type;
  interaction.answeredAfterMs = now - interaction.at;
  if (message !== undefined) announce(deps, message);
  if (call.query.get('with_response') !== 'true') return nothing;
  return {
    interaction: { id: interaction.id, type: interaction.type },
    resource: { type, ...(message === undefined ? {} : { message: messageObject(world, message, deps.baseUrl()) }) },
  };
}

function firstAnswer(
  deps: RestDeps,
  interaction: FakeInteraction,
  type: number,
  data: Readonly<Record<string, unknown>>,
  call: RestCall,
): FakeMessage | undefined {
  const allowed: Readonly<Record<number, readonly number[]>> = {
    2: [4, 5, 9],
    3: [4, 5, 6, 7, 9],
    4: [8],
    5: interaction.messageId === undefined ? [4, 5] : [4, 5, 6, 7],
  };
  if (!(allowed[interaction.type] ?? []).includes(type)) {
    throw invalidBody('type', 'BASE_TYPE_CHOICES', 'Value is not one of the allowed callback types.');
  }
  switch (type) {
    case 4: {
      checkMessage(data, call.files);
      return answerWith(deps, interaction, data, call, 0);
    }
    case 5:
      return answerWith(deps, interaction, data, call, flagBits.loading);
    case 7: {
      const source = messageOf(deps, interaction, interaction.messageId);
      changeMessage(deps, source, data, call.files);
      return undefined;
    }
    case 8: {
      const choices: unknown = data['choices'];
      if (!Array.isArray(choices) || choices.length > 25) {
        throw invalidBody('data.choices', 'BASE_TYPE_MAX_LENGTH', 'Must be 25 or fewer in length.');
      }
      interaction.choices = choices.map((choice: unknown) => String(isRecord(choice) ? choice['value'] : ''));
      return undefined;
    }
    case 9:
      checkModal(data);
      interaction.modal = data;
      return undefined;
    default:
      return undefined;
  }
}

function answerWith(
  deps: RestDeps,
  interaction: FakeInteraction,
  data: Readonly<Record<string, unknown>>,
  call: RestCall,
  extra: number,
): FakeMessage {
  const { world } = deps;
  const channel = world.channels.get(interaction.channelId);
  if (channel === undefined) throw unknownInteraction();
  const content = contentOf(world, data, call.files);
  const isPrivate = (Number(data['flags'] ?? 0) & flagBits.ephemeral) !== 0;
  const message = world.addMessage(channel, {
    author: world.bot,
    type: interaction.type === 2 ? 20 : 19,
    webhookId: world.applicationId,
    interactionId: interaction.id,
    onlyFor: isPrivate ? interaction.userId : undefined,
    ...content,
    flags: content.flags | extra | (isPrivate ? flagBits.ephemeral : 0),
  });
  interaction.originalId ??= message.id;
  return message;
}

/** `/webhooks/{application}/{token}…`: everything after the first answer. */
export function webhookCall(deps: RestDeps, times: InteractionTimes, method: string, call: RestCall): unknown {
  const { world } = deps;
  const [, token = '', which] = call.params.map(decodeURIComponent);
  const interaction = [...world.interactions.values()].find((candidate) => candidate.token === token);
  if (interaction === undefined) throw invalidWebhookToken();
  if (preciseNow() - interaction.at > times.tokenMs) throw invalidWebhookToken();
  if (interaction.state === 'open') throw unknownWebhook();
  if (which === undefined) return followUp(deps, interaction, call);
  const id = which === '@original' ? originalOf(interaction) : which;
  const message = messageOf(deps, interaction, id);
  const channel = world.channels.get(interaction.channelId);
  if (channel === undefined) throw unknownMessage();
  if (method === 'GET') return messageObject(world, message, deps.baseUrl());
  if (method === 'DELETE') {
    removeMessage(deps, channel, message);
    if (interaction.originalId === message.id) interaction.originalId = 'deleted';
    return nothing;
  }
  changeMessage(deps, message, call.body, call.files);
  return messageObject(world, message, deps.baseUrl());
}

function followUp(deps: RestDeps, interaction: FakeInteraction, call: RestCall): unknown {
  const { world } = deps;
  checkMessage(call.body, call.files);
  const original =
    interaction.originalId === undefined ? undefined : findMessage(deps, interaction, interaction.originalId);
  // The first further message takes the place of the busy sign, and is as private as that was.
  if (original !== undefined && (original.flags & flagBits.loading) !== 0) {
    changeMessage(deps, original, call.body, call.files);
    return messageObject(world, original, deps.baseUrl());
  }
  const message = answerWith(deps, interaction, call.body, call, 0);
  announce(deps, message);
  return messageObject(world, message, deps.baseUrl());
}

/** For a press that was only acknowledged, the message with the button. */
function originalOf(interaction: FakeInteraction): string | undefined {
  return (
    interaction.originalId ?? (interaction.answer === 6 || interaction.answer === 7 ? interaction.messageId : undefined)
  );
}

function messageOf(deps: RestDeps, interaction: FakeInteraction, id: string | undefined): FakeMessage {
  const message = findMessage(deps, interaction, id);
  if (message === undefined) throw unknownMessage();
  return message;
}

function findMessage(deps: RestDeps, interaction: FakeInteraction, id: string | undefined): FakeMessage | undefined {
  return deps.world.channels.get(interaction.channelId)?.messages.get(id ?? '');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
