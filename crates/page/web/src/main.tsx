import { render } from 'preact';
import { begin, session } from './api/session';
import { listen } from './api/live';
import { askEarly } from './state/ask';
import { route, watchRoute } from './state/route';
import { App } from './views/app';
import './style.css';

await begin();
watchRoute();
if (session.get() === 'open') {
  // What the first view needs is asked for at once, not one after the other.
  const { team, view, pod } = route.get();
  askEarly('/v1/status', {});
  if (view === 'pods' && !pod) askEarly('/v1/teams/{team}/pods', {}, team || '-');
}
listen();
const page = document.getElementById('page');
if (page) render(<App />, page);
