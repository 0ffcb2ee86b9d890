import { render } from 'preact';
import { begin } from './api/session';
import { listen } from './api/live';
import { App } from './views/app';
import './style.css';

await begin();
listen();
const page = document.getElementById('page');
if (page) render(<App />, page);
