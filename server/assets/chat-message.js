/** Messages as elements. */

import { build, element } from './chat-document.js';

const marks = { info: 'i', success: '✓', warn: '!', error: '✗', status: '≡', question: '?', announcement: '›' };
const taskMarks = { pending: '○', running: '▸', done: '✓', failed: '✗', skipped: '–' };

/** One message as an item of the log; `context` has the conversation's name and what to do when a button is pressed. */
export function renderMessage(message, context) {
  const bubble = element('div', { class: `bubble ${message.direction} ${message.priority ?? ''}` });
  bubble.append(element('span', { class: 'hidden' }, message.direction === 'in' ? 'You:' : 'Switchyard:'));
  for (const part of message.parts) bubble.append(...renderPart(part, message, context));
  const at = new Date(message.at);
  const time = element(
    'time',
    { datetime: message.at },
    at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }),
  );
  time.title = at.toLocaleString();
  const item = element('li', { class: message.direction }, bubble, time);
  item.dataset.id = message.id;
  return item;
}

function renderPart(part, message, context) {
  switch (part.type) {
    case 'text':
      return build(part.nodes);
    case 'notice':
      return [
        element(
          'div',
          { class: `notice ${part.level}` },
          element('span', { 'aria-hidden': 'true' }, marks[part.level] ?? ''),
          element('div', {}, ...build(part.nodes)),
        ),
      ];
    case 'fields':
      return [
        element(
          'dl',
          {},
          ...part.fields.map(([name, value]) => element('div', {}, element('dt', {}, name), element('dd', {}, value))),
        ),
      ];
    case 'progress':
      return [
        element('p', { class: 'title' }, part.title),
        element(
          'ul',
          { class: 'tasks' },
          ...part.tasks.map((task) =>
            element(
              'li',
              { class: task.state },
              element('span', { role: 'img', 'aria-label': task.state }, taskMarks[task.state] ?? ''),
              ` ${task.title}`,
              ...(task.detail ? [element('small', {}, ` ${task.detail}`)] : []),
            ),
          ),
        ),
      ];
    case 'buttons':
      return part.rows.map((row) =>
        element('div', { class: 'buttons' }, ...row.map((button) => renderButton(button, message, context))),
      );
    case 'file':
      return [renderFile(part, message, context)];
    default:
      return [];
  }
}

function renderButton(button, message, context) {
  if (button.url !== undefined) {
    return /^https?:/i.test(button.url)
      ? element(
          'a',
          { class: 'button', href: button.url, rel: 'noopener noreferrer nofollow', target: '_blank' },
          button.label,
        )
      : element('span', {}, button.label);
  }
  const isDead = button.isDisabled === true || button.token === undefined;
  return element(
    'button',
    {
      type: 'button',
      class: button.style ?? '',
      disabled: isDead,
      onclick: (event) => void context.press(event.currentTarget, button.token, message),
    },
    button.label,
  );
}

function renderFile(part, message, context) {
  const query = new URLSearchParams({ thread: context.thread, message: message.messageId, index: part.index });
  const href = `/chat/api/files?${query}`;
  const facts = element('span', { class: 'facts' }, `${part.name} · ${size(part.bytes)}`);
  if (/^image\/(?:png|jpeg|gif|webp)$/.test(part.mime)) {
    return element(
      'a',
      { class: 'file picture', href, target: '_blank', rel: 'noopener' },
      element('img', { src: href, alt: part.name, loading: 'lazy' }),
      facts,
    );
  }
  return element(
    'a',
    { class: 'file', href, download: part.name },
    element('span', { 'aria-hidden': 'true' }, '↓'),
    facts,
  );
}

/** A size for people. */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
