/** HTML that is safe to send: made only by `html`, which escapes everything that is put into it. */
export class Html {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  toString(): string {
    return this.#text;
  }
}

/** A template in which every value is escaped, unless it is `Html` itself. Lists are joined, undefined is nothing. */
export function html(strings: TemplateStringsArray, ...values: readonly unknown[]): Html {
  return new Html(strings.reduce((text, string, index) => `${text}${render(values[index - 1])}${string}`));
}

/** A whole page of ours. `actions` stands at the right end of the bar. */
export function page(options: { readonly title: string; readonly body: Html; readonly actions?: Html }): string {
  return `<!doctype html>${html`<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${options.title} · Switchyard</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/assets/style.css">
</head>
<body>
<header><a class="brand" href="/queues">Switchyard</a><nav>${options.actions}</nav></header>
<main>
${options.body}
</main>
</body>
</html>`}`;
}

function render(value: unknown): string {
  if (value === undefined || value === null || value === false) return '';
  if (value instanceof Html) return value.toString();
  if (Array.isArray(value)) return value.map(render).join('');
  return String(value)
    .toWellFormed()
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
