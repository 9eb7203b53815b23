import { resolve } from "node:path";
import { screen } from "./vite.shared.ts";

export default screen(resolve("telecartd/bedside"), resolve("../out/gallery/bedside"), "http://127.0.0.1:8080");
