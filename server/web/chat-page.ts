import { html } from '../html.ts';

/** The page of the web chat. It holds nothing of anybody: its script asks for what this browser may see. */
export function chatPage(): string {
  return `<!doctype html>${html`<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, interactive-widget=resizes-content">
<meta name="robots" content="noindex">
<title>Chat · Switchyard</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/chat/chat.css">
<script type="module" src="/chat/chat.js"></script>
</head>
<body>
<header>
<button id="menu" type="button" aria-expanded="false" aria-controls="side" aria-label="Conversations"><span aria-hidden="true">☰</span></button>
<span class="brand">Switchyard</span>
<span id="connection" role="status">Connecting…</span>
<nav id="links" aria-label="Pages"></nav>
</header>
<div id="frame">
<aside id="side" aria-label="Conversations">
<button id="new" type="button" class="main">New conversation</button>
<ul id="threads"></ul>
</aside>
<main>
<div id="scroll" tabindex="-1">
<button id="older" type="button" hidden>Load earlier messages</button>
<div id="empty" hidden><h1>What can I do for you?</h1><p>Write a message below, or <kbd>/help</kbd> to see what I can do.</p></div>
<ol id="log" role="log" aria-label="Messages" aria-live="polite" aria-relevant="additions text"></ol>
<div id="live" aria-live="off" hidden><div class="bubble out"></div></div>
</div>
<div id="working" hidden><p id="busy" role="status"></p><button id="stop" type="button">Stop</button></div>
<form id="pair" hidden>
<label for="code">I only work for people I am paired with. Enter your pairing code:</label>
<div class="row"><input id="code" autocomplete="one-time-code" autocapitalize="characters" spellcheck="false" maxlength="12" placeholder="XXXX-XXXX" required><button class="main" type="submit">Pair</button></div>
</form>
<form id="composer">
<ul id="suggestions" aria-label="Commands" hidden></ul>
<ul id="files" aria-label="Attached files"></ul>
<p id="problem" role="alert" hidden></p>
<div class="row">
<label class="attach" title="Attach files"><span class="hidden">Attach files</span><input id="attach" type="file" multiple><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M8 12.5 14.5 6a3 3 0 0 1 4.2 4.2l-8.4 8.4a5 5 0 0 1-7-7l7.7-7.8"/></svg></label>
<label class="hidden" for="text">Message</label>
<textarea id="text" rows="1" placeholder="Message" enterkeyhint="send" maxlength="100000"></textarea>
<button id="send" type="submit" class="main">Send</button>
</div>
</form>
</main>
</div>
<dialog id="dialog" aria-labelledby="dialog-title"><form method="dialog"><h2 id="dialog-title"></h2><div id="fields"></div><div class="row end"><button type="button" id="cancel">Cancel</button><button type="submit" class="main" id="submit">Send</button></div></form></dialog>
<div id="toast" role="status" hidden></div>
<noscript><p>The chat needs JavaScript. Without it, use ./switchyard chat in a terminal.</p></noscript>
</body>
</html>`}`;
}
