import { render } from 'preact';
import { begin, session, watchOtherTabs } from './api/session';
import { listen } from './api/live';
import { askEarly } from './state/ask';
import { afterFirstView } from './state/first';
import { route, watchRoute } from './state/route';
import { App } from './views/app';

/** How long the first view waits for its answers before it says that they are being read. */
const PATIENCE_MS = 150;

await begin();
watchRoute();
if (session.get() === 'open') {
  // What the first view needs is asked for at once, not one after the other.
  const { team, view, pod } = route.get();
  const asked = [askEarly('/v1/status', {})];
  if (view === 'pods' && !pod) asked.push(askEarly('/v1/teams/{team}/pods', {}, team || '-'));
  // It is there sooner than a view without it would be painted.
  await Promise.race([Promise.all(asked), new Promise((done) => setTimeout(done, PATIENCE_MS))]);
}
const page = document.getElementById('page');
if (page) render(<App />, page);
// Not later: what happens once people see the page is in its list of what happened.
listen();
afterFirstView(watchOtherTabs);
