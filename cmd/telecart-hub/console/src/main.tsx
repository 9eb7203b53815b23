import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Base } from "../../../ui/base.tsx";
import "../../../ui/style.css";
import { App } from "./app.tsx";
import "./console.css";
import { LiveHub, type Seen } from "./hub.ts";

function Page() {
  const [seen, setSeen] = useState<Seen>({ phase: "connecting" });
  const [hub] = useState(() => new LiveHub(setSeen));
  useEffect(() => hub.start(), [hub]);
  const skew = seen.state && seen.seenAt ? Date.parse(seen.state.now) - seen.seenAt : 0;
  return (
    <Base title="app.console" skew={Math.abs(skew) > 2000 ? skew : 0}>
      <App seen={seen} hub={hub} />
    </Base>
  );
}

render(<Page />, document.getElementById("app")!);
