import type { GrantConditions } from './grant-item.ts';

export type Risk = 'low' | 'medium' | 'high';

/** Orders risks; higher is worse. */
export const riskRank: Readonly<Record<Risk, number>> = { low: 0, medium: 1, high: 2 };

/** What is known about a request beside its action and resource. A fact that is not known is left out. */
export interface Facts {
  readonly risk?: Risk;
  readonly costMicros?: bigint;
  readonly channel?: string;
  readonly room?: string;
  /** When it happens. */
  readonly at?: Date;
  readonly workingDirectory?: string;
}

/** How one condition came out: it holds, it fails for the reason given, or the fact it asks for is not known. */
export type ConditionResult =
  | { readonly state: 'holds' }
  | { readonly state: 'fails' | 'unknown'; readonly why: string };

const holds: ConditionResult = { state: 'holds' };
const days = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

/** Evaluates all conditions of a grant; a failing one wins over an unknown one. */
export function checkConditions(when: GrantConditions | undefined, facts: Facts): ConditionResult {
  if (when === undefined) return holds;
  const results = [
    checkCost(when, facts),
    checkRisk(when, facts),
    checkMember('channel', when.channel, facts.channel),
    checkMember('room', when.room, facts.room),
    checkTime(when, facts),
  ];
  return (
    results.find((result) => result.state === 'fails') ?? results.find((result) => result.state === 'unknown') ?? holds
  );
}

function checkCost(when: GrantConditions, facts: Facts): ConditionResult {
  if (when.cost_usd === undefined) return holds;
  if (facts.costMicros === undefined) return { state: 'unknown', why: 'the cost is not known' };
  const costUsd = Number(facts.costMicros) / 1_000_000;
  return costUsd <= when.cost_usd.max ? holds : { state: 'fails', why: `cost ${costUsd} > ${when.cost_usd.max}` };
}

function checkRisk(when: GrantConditions, facts: Facts): ConditionResult {
  if (when.risk === undefined) return holds;
  if (facts.risk === undefined) return { state: 'unknown', why: 'the risk is not known' };
  return riskRank[facts.risk] <= riskRank[when.risk.max]
    ? holds
    : { state: 'fails', why: `risk ${facts.risk} > ${when.risk.max}` };
}

function checkMember(name: string, allowed: readonly string[] | undefined, value: string | undefined): ConditionResult {
  if (allowed === undefined) return holds;
  if (value === undefined) return { state: 'unknown', why: `the ${name} is not known` };
  return allowed.includes(value)
    ? holds
    : { state: 'fails', why: `${name} ${value} is not one of ${allowed.join(', ')}` };
}

function checkTime(when: GrantConditions, facts: Facts): ConditionResult {
  if (when.until === undefined && when.days === undefined && when.hours === undefined) return holds;
  if (facts.at === undefined) return { state: 'unknown', why: 'the time is not known' };
  if (when.until !== undefined && facts.at.getTime() > Date.parse(when.until)) {
    return { state: 'fails', why: `it ended ${when.until}` };
  }
  const local = localTime(facts.at, when.tz ?? 'UTC');
  const range = when.hours === undefined ? undefined : parseHours(when.hours);
  // A range over midnight belongs to the day it began on.
  const isAfterMidnight = range !== undefined && range.from > range.to && local.minute < range.to;
  const day = days[(local.day + (isAfterMidnight ? 6 : 0)) % 7];
  if (when.days !== undefined && !when.days.some((name) => name === day)) {
    return { state: 'fails', why: `${day} is not one of ${when.days.join(', ')}` };
  }
  if (range !== undefined && !isWithin(local.minute, range)) {
    return { state: 'fails', why: `it is outside ${when.hours} ${when.tz ?? 'UTC'}` };
  }
  return holds;
}

/** `HH:MM-HH:MM` as minutes of the day, the end exclusive; undefined when it is not one. */
export function parseHours(text: string): { readonly from: number; readonly to: number } | undefined {
  const match = /^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)$/.exec(text);
  if (match === null) return undefined;
  const from = Number(match[1]) * 60 + Number(match[2]);
  const to = Number(match[3]) * 60 + Number(match[4]);
  return from === to || to > 1440 ? undefined : { from, to };
}

function isWithin(minute: number, range: { readonly from: number; readonly to: number }): boolean {
  return range.from < range.to ? minute >= range.from && minute < range.to : minute >= range.from || minute < range.to;
}

/** Whether a time zone name is one this machine knows. */
export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

function localTime(at: Date, timeZone: string): { readonly day: number; readonly minute: number } {
  const parts = new Intl.DateTimeFormat('en-US', {
    timeZone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  }).formatToParts(at);
  const find = (type: Intl.DateTimeFormatPartTypes): string => parts.find((part) => part.type === type)?.value ?? '';
  const weekday = find('weekday').toLowerCase();
  return {
    day: days.indexOf(weekday),
    minute: Number(find('hour')) * 60 + Number(find('minute')),
  };
}
