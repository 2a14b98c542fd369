/** What `up` tells a person once everything runs. */
export interface Greeting {
  readonly url: string;
  readonly loginToken: string;
  readonly setupCode: string | undefined;
  readonly database: string;
  readonly queue: string;
  readonly model: string;
  readonly hasTelegram: boolean;
}

/** The text `up` prints when it is ready: how to chat, how to pair, where to look, which model answers. */
export function greetingText(greeting: Greeting): string {
  const lines = [
    '',
    'Switchyard is running.',
    '',
    '  Chat here       open another terminal and run ./switchyard chat',
    `  In a browser    ${greeting.url}/chat#login=${greeting.loginToken}   (logs you in as the operator)`,
  ];
  if (greeting.model === 'demo' || !greeting.hasTelegram) {
    lines.push('  Set up          ./switchyard setup   (asks for a model key and chat tokens, and checks each)');
  }
  if (greeting.hasTelegram) {
    lines.push(
      greeting.setupCode === undefined
        ? '  Telegram        connected; someone is paired already (./switchyard pair lets more people in)'
        : `  Telegram        send your bot:  /start ${greeting.setupCode}   (makes you the owner, valid 24 h)`,
    );
  } else {
    lines.push('  Telegram        set TELEGRAM_BOT_TOKEN in .env and start again');
    if (greeting.setupCode !== undefined) {
      lines.push(`  Pairing code    ${greeting.setupCode}   (for the first chat account; makes it the owner)`);
    }
  }
  lines.push(
    `  Queues          ${greeting.url}/queues   token: ${greeting.loginToken}`,
    `  Model           ${describeModel(greeting.model)}`,
    `  Database        ${greeting.database}; queue on ${greeting.queue}`,
    '  Check           ./switchyard doctor',
    '',
    'Stop with Ctrl-C.',
    '',
  );
  return lines.join('\n');
}

function describeModel(model: string): string {
  if (model !== 'demo') return model;
  return 'demo (no real model: set OPENAI_API_KEY or ANTHROPIC_API_KEY in .env)';
}
