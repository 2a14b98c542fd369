import { Routes } from 'discord.js';
import { z } from 'zod';
import type { CommandSpec } from '../channel.ts';
import type { DiscordApi } from './discord-api.ts';

const optionSchema = z.object({
  type: z.number(),
  name: z.string(),
  description: z.string().default(''),
  required: z.boolean().optional(),
  autocomplete: z.boolean().optional(),
  choices: z.array(z.object({ name: z.string(), value: z.union([z.string(), z.number()]) })).optional(),
});
const commandSchema = z.looseObject({
  type: z.number().default(1),
  name: z.string(),
  description: z.string().default(''),
  options: z.array(optionSchema).default([]),
  contexts: z.array(z.number()).nullish(),
});

/** Slash commands; the application's other kinds, such as its entry point, are left as they are. */
const chatInput = 1;
const stringOption = 3;
const commandsMax = 100;
const optionsMax = 25;
/** Servers, the private chat with the bot, and other private chats. */
const contexts = [0, 1, 2];

/** Makes the application's commands equal to `specs`; writes only when something differs. */
export async function registerCommands(
  api: DiscordApi,
  specs: readonly CommandSpec[],
): Promise<{ readonly changed: boolean }> {
  const { id } = await api.application();
  const route = Routes.applicationCommands(id);
  const current = await api.read(z.array(commandSchema), 'reading commands', 'get', route);
  const wanted = specs
    .filter(({ name }) => /^[a-z0-9_-]{1,32}$/.test(name))
    .slice(0, commandsMax)
    .map(toCommand);
  const ours = current.filter(({ type }) => type === chatInput);
  if (JSON.stringify(ours.map(shapeOf).sort(byName)) === JSON.stringify(wanted.map(shapeOf).sort(byName))) {
    return { changed: false };
  }
  const kept = current.filter(({ type }) => type !== chatInput);
  await api.call('registering commands', 'put', route, { body: [...kept, ...wanted] });
  return { changed: true };
}

function toCommand(spec: CommandSpec) {
  const options = (spec.options ?? []).slice(0, optionsMax).map((option) => ({
    type: stringOption,
    name: option.name,
    description: cut(option.description, option.name),
    ...(option.isRequired === true ? { required: true } : {}),
    ...(option.choices === undefined
      ? {}
      : { choices: option.choices.slice(0, optionsMax).map((value) => ({ name: value, value })) }),
    ...(option.suggest === undefined ? {} : { autocomplete: true }),
  }));
  return {
    type: chatInput,
    name: spec.name,
    description: cut(spec.description, spec.name),
    // Discord wants the required ones first.
    options: options.sort((a, b) => Number('required' in b) - Number('required' in a)),
    contexts,
  };
}

function cut(description: string, name: string): string {
  return description.slice(0, 100) || name;
}

/** What makes two commands the same, whatever else Discord stores with them. */
function shapeOf(command: z.input<typeof commandSchema>) {
  return {
    name: command.name,
    description: command.description ?? '',
    contexts: [...(command.contexts ?? [])].sort(),
    options: (command.options ?? []).map((option) => ({
      type: option.type,
      name: option.name,
      description: option.description ?? '',
      isRequired: option.required ?? false,
      isSuggested: option.autocomplete ?? false,
      choices: (option.choices ?? []).map(({ name, value }) => [name, value]),
    })),
  };
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}
