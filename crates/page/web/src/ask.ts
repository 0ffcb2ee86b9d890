/**
 * Asks for what the first view shows, before the browser has the rest of the page. A plain script without imports:
 * it runs while the document is being read, and `api/call` takes the answers from it.
 */
interface Window {
  /** Answers that are under way, by URL. */
  podsyncAsked?: Map<string, Promise<Response>>;
}

(() => {
  const key = localStorage.getItem('podsync-key');
  const [start = '', team = '', view = '', pod = ''] = location.hash.split('/');
  // A token begins a new session; without a key there is none.
  if (!key || (start !== '' && start !== '#')) return;
  const urls = ['/v1/status'];
  if ((view === '' || view === 'pods') && !pod) urls.push(`/v1/teams/${team || '-'}/pods`);
  const headers = { 'content-type': 'application/json', accept: 'application/json', 'x-podsync-key': key };
  window.podsyncAsked = new Map(urls.map((url) => [url, fetch(url, { method: 'POST', headers, body: '{}' })]));
})();
