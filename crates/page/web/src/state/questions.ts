/** What the page asks its user; a dialog shows one at a time. */
import type { Shapes } from '../api/call';
import { store } from './store';

export type Question =
  | { kind: 'consent'; consent: Shapes['Consent']; message: string }
  | { kind: 'choice'; message: string; choices: string[] }
  /** Shown once: it outlives the view that asked for it. */
  | { kind: 'secret'; title: string; message: string; secret: string; label: string }
  | { kind: 'confirm'; title: string; message: string; yes: string; dangerous?: boolean };

export interface Asked {
  question: Question;
  answer: (answer: boolean | string) => void;
}

export const questions = store<readonly Asked[]>([]);

/** `false` where it is no; the chosen one where there was a choice. */
export function ask(question: Question): Promise<boolean | string> {
  return new Promise((done) => {
    const asked: Asked = {
      question,
      answer: (answer) => {
        questions.update((open) => open.filter((other) => other !== asked));
        done(answer);
      },
    };
    questions.update((open) => [...open, asked]);
  });
}
