import { resolve } from "node:path";
import { screen } from "./vite.shared.ts";

export default screen(resolve("telecart-hub/console"), resolve("../out/gallery/console"), "https://127.0.0.1:8443");
