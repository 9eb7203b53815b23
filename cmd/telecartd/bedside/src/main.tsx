import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Input } from "../../../ui/api.ts";
import { Base } from "../../../ui/base.tsx";
import "../../../ui/style.css";
import { App } from "./app.tsx";
import "./bedside.css";
import { LiveCart, type Seen } from "./cart.ts";

function Page() {
  const [seen, setSeen] = useState<Seen>({ phase: "connecting" });
  const [input, setInput] = useState<Input>();
  const [cart] = useState(() => new LiveCart(setSeen, setInput));
  useEffect(() => cart.start(), [cart]);
  return (
    <Base title="app.bedside">
      <App seen={seen} cart={cart} input={input} />
    </Base>
  );
}

render(<Page />, document.getElementById("app")!);
