import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Base } from "../../../ui/base.tsx";
import "../../../ui/style.css";
import { App } from "./app.tsx";
import "./bedside.css";
import { LiveCart, type Seen } from "./cart.ts";

function Page() {
  const [seen, setSeen] = useState<Seen>({ phase: "connecting" });
  const [cart] = useState(() => new LiveCart(setSeen));
  useEffect(() => cart.start(), [cart]);
  return (
    <Base title="app.bedside">
      <App seen={seen} cart={cart} />
    </Base>
  );
}

render(<Page />, document.getElementById("app")!);
