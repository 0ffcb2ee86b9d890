/** The graph's lines beside a version's row. The version's details say the same in words. */
import type { Row } from '../state/graph';

export const LANE = 14;

export function Graph({ row, lanes, height }: { row: Row; lanes: number; height: number }) {
  const last = lanes - 1;
  const x = (lane: number) => (Math.min(lane, last) + 0.5) * LANE + 1;
  const middle = height / 2;
  const color = (lane: number) => `lane lane-${lane % 6}`;
  return (
    <svg class="graph" width={lanes * LANE + 2} height={height} aria-hidden="true">
      {row.lines.map(({ from, to, lane }) => {
        const top = from === null ? [x(row.lane), middle] : [x(from), 0];
        const bottom = to === null ? [x(row.lane), middle] : [x(to), height];
        const [x1, y1] = top as [number, number];
        const [x2, y2] = bottom as [number, number];
        const bend = (y1 + y2) / 2;
        const path = x1 === x2 ? `M${x1} ${y1}V${y2}` : `M${x1} ${y1}C${x1} ${bend} ${x2} ${bend} ${x2} ${y2}`;
        return <path key={`${from}-${to}`} class={color(lane)} d={path} />;
      })}
      <circle
        class={`${color(row.lane)} ${row.version.held ? 'held' : ''} ${row.version.number == null ? 'private' : ''}`}
        cx={x(row.lane)}
        cy={middle}
        r={row.version.tip ? 5 : 4}
      />
    </svg>
  );
}
