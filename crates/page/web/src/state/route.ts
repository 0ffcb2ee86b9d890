/** Where the page is: `#/TEAM/VIEW/POD/VERSION`. The part after `#` never leaves the browser. */
import { store } from './store';

export interface Route {
  team: string;
  view: View;
  /** A pod's name. */
  pod: string | null;
  /** A version's id, or the two of a comparison with `..` between them. */
  version: string | null;
}

export const VIEWS = ['pods', 'activity', 'team', 'storage', 'machine'] as const;
export type View = (typeof VIEWS)[number];

function read(): Route {
  const [team = '', view = '', pod, version] = location.hash
    .replace(/^#\/?/, '')
    .split('/')
    .map((part) => {
      try {
        return decodeURIComponent(part);
      } catch {
        return part;
      }
    });
  return {
    team,
    view: (VIEWS as readonly string[]).includes(view) ? (view as View) : 'pods',
    pod: pod || null,
    version: version || null,
  };
}

export const route = store<Route>(read());

export function watchRoute(): void {
  route.set(read());
  addEventListener('hashchange', () => route.set(read()));
}

export function href(to: Partial<Route>): string {
  const { team, view, pod, version } = { ...route.get(), pod: null, version: null, ...to };
  const parts = [team, view, ...(pod ? [pod] : []), ...(pod && version ? [version] : [])];
  return `#/${parts.map(encodeURIComponent).join('/')}`;
}

export function go(to: Partial<Route>, { replace = false } = {}): void {
  if (replace) {
    history.replaceState(null, '', href(to));
    route.set(read());
  } else location.hash = href(to);
}
